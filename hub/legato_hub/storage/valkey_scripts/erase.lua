-- Nothing but ids and counts stays. Behind ARGV[4], the fence of the slot as the caller has seen it ('' for none), stands
-- the slot's command, which counts as processed.
local head, entities, log, seqs, results, recent, slots, open, closed, feed = unpack(KEYS)
local resource, now, fence, id, client, seq, before, leaving = unpack(ARGV, 3, 10)

local staying = {'closed', 'floor', 'fence', 'made'}
local stored, written_by, held = unpack(redis.call('HMGET', head, 'revision', 'origin', 'slot_fence'))
local stays = redis.call('HMGET', head, unpack(staying))
local is_closed, floor = stays[1], stays[2]
if (held or '') ~= fence then
  return {'CHANGED'}
end
if id ~= '' and redis.call('HEXISTS', results, id) == 0 then
  if seq == '0' then
    if not floor or id > floor then
      redis.call('HSET', results, id, '')
      redis.call('ZADD', recent, 0, id)
    end
  elseif (redis.call('HGET', seqs, ':' .. client) or '0') == before then
    redis.call('HSET', results, id, '')
    consume(seqs, results, client, seq, id, leaving)
  end
end
for _, known in ipairs(redis.call('HKEYS', results)) do
  if string.sub(known, 1, 1) ~= '#' then
    redis.call('HSET', results, known, '')
  end
end
redis.call('DEL', head, entities, log) -- the whole head, for it may hold what only a later release knows
redis.call('ZREM', slots, resource)
local revision = string.format('%.0f', tonumber(revision_of(stored, written_by)) + 1)
redis.call('HSET', head, 'revision', revision, 'origin', origin, 'tombstone', '1', 'made', microseconds())
for at, field in ipairs(staying) do
  if stays[at] then
    redis.call('HSET', head, field, stays[at])
  end
end
redis.call('ZADD', is_closed and closed or open, now, resource)
redis.call('SPUBLISH', feed, origin .. ' ' .. revision .. ' ')
return {'DONE', revision}
