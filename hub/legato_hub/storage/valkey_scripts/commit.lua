-- State, log, seq, result, notebook and slot as one.
local head, entities, log, seqs, results, recent, slots, open, closed, feed = unpack(KEYS)
local resource, now, base, next_revision, fence, id, client, seq, before, leaving, result = unpack(ARGV, 3, 13)
local entry, has_notebook, notebook, has_version, version, closes, log_length, kept = unpack(ARGV, 14, 21)
local first, upserts = 23, tonumber(ARGV[22])

local stored, written_by, held, tombstone, is_closed, floor =
  unpack(redis.call('HMGET', head, 'revision', 'origin', 'slot_fence', 'tombstone', 'closed', 'floor'))
local revision = revision_of(stored, written_by)
local overtaken = base ~= revision or (fence ~= '0' and fence ~= held) or (tombstone and entry ~= '')
if id ~= '' and not overtaken then
  overtaken = redis.call('HEXISTS', results, id) == 1
    or (seq ~= '0' and (redis.call('HGET', seqs, ':' .. client) or '0') ~= before)
end
if overtaken then
  return {'OVERTAKEN', revision}
end

-- In pieces, because Lua's stack is bounded; an even number of them, because upserts are pairs.
local function each_piece(command, key, from, to)
  for at = from, to, 1000 do
    redis.call(command, key, unpack(ARGV, at, math.min(at + 999, to)))
  end
end

if entry ~= '' then
  revision = next_revision
  each_piece('HSET', entities, first, first + 2 * upserts - 1)
  each_piece('HDEL', entities, first + 2 * upserts, #ARGV)
  redis.call('XADD', log, 'MAXLEN', '=', log_length, revision .. '-0', 'u', entry)
  redis.call('SPUBLISH', feed, origin .. ' ' .. revision .. ' ' .. entry)
end
local fields = {'revision', revision, 'origin', origin}
local function set(field, value)
  fields[#fields + 1] = field
  fields[#fields + 1] = value
end
if id ~= '' and seq ~= '0' then
  redis.call('HSET', results, id, result)
  consume(seqs, results, client, seq, id, leaving)
elseif id ~= '' and (not floor or id > floor) then -- else it would be evicted at once
  redis.call('HSET', results, id, result)
  redis.call('ZADD', recent, 0, id)
  if redis.call('ZCARD', recent) > tonumber(kept) then
    local oldest = redis.call('ZPOPMIN', recent)[1]
    drop(results, oldest)
    set('floor', oldest)
  end
end
if has_notebook == '1' then
  set('notebook', notebook)
  set('epoch', ARGV[2])
end
if has_version == '1' then
  set('version', version)
end
if not stored then
  set('made', microseconds())
end
if not tombstone and not is_closed then
  if closes == '1' then
    set('closed', '1')
    redis.call('ZREM', open, resource)
    redis.call('ZADD', closed, now, resource)
  else
    redis.call('ZADD', open, now, resource)
  end
end
redis.call('HSET', head, unpack(fields))
if fence ~= '0' then
  redis.call('HDEL', head, 'slot', 'slot_fence')
  redis.call('ZREM', slots, resource)
end
return {'DONE', revision}
