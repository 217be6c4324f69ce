local head, slots = unpack(KEYS)
local resource, fence = unpack(ARGV, 3)
if redis.call('HGET', head, 'slot_fence') ~= fence then
  return 0
end
redis.call('HDEL', head, 'slot', 'slot_fence')
redis.call('ZREM', slots, resource)
return 1
