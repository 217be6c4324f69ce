-- The table of `begin` in base.py, row by row. Slots and results are judged by the caller, who can read them.
local head, seqs, results, slots, open = unpack(KEYS)
local resource, now, id, body, client, seq, before, leaving = unpack(ARGV, 3, 10)
local base, expired, expected_epoch, expected, slot_until, slot = unpack(ARGV, 11, 16)

local stored, written_by, taken, fence, floor, last_fence =
  unpack(redis.call('HMGET', head, 'revision', 'origin', 'slot', 'slot_fence', 'floor', 'fence'))
local last = '0'
if seq ~= '0' then
  last = redis.call('HGET', seqs, ':' .. client) or '0'
  if at_most(seq, last) then
    local of_seq = redis.call('HGET', seqs, seq .. ':' .. client)
    local kept = of_seq and redis.call('HGET', results, of_seq)
    if not kept or kept == '' then -- '' is what was erased
      return {'PROCESSED'}
    end
    return of_seq == id and {'KNOWN', kept} or {'REUSED'}
  end
end
local known = redis.call('HGET', results, id)
if known == '' then
  return {'PROCESSED'}
end
if known then
  if string.sub(known, 1, #body) ~= body then
    return {'REUSED'}
  end
  if seq ~= '0' and last == before then
    keep(results, id)
    consume(seqs, results, client, seq, id, leaving)
  end
  return {'KNOWN', known}
end
if taken then
  return {'TAKEN', fence, taken}
end
if seq ~= '0' and last ~= before then
  return {'GAP', last}
end
-- The first 13 characters of a UUIDv7 are the time it was minted.
if seq == '0' and (expired == '1' or (floor and string.sub(id, 1, 13) <= string.sub(floor, 1, 13))) then
  return {'EXPIRED'}
end
local revision = revision_of(stored, written_by)
if expected_epoch ~= '' and expected_epoch ~= ARGV[2] then
  return {'EPOCH', revision}
end
if expected ~= '' and expected ~= revision then
  return {'MISMATCH', revision}
end
if base ~= revision then
  return {'MOVED', revision}
end
if slot_until == '0' then
  return {'FRESH', '0'}
end
-- Fences are times: so they rise beyond those of a resource that was removed, and beyond those that a failover lost.
local mine = microseconds()
if last_fence and at_most(mine, last_fence) then
  mine = string.format('%.0f', tonumber(last_fence) + 1)
end
if not stored then
  redis.call('HSET', head, 'revision', '0', 'origin', origin, 'made', mine)
  redis.call('ZADD', open, now, resource)
end
redis.call('HSET', head, 'slot', slot, 'slot_fence', mine, 'fence', mine)
redis.call('ZADD', slots, slot_until, resource)
return {'FRESH', mine}
