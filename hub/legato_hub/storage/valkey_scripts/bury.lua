-- One resource that is past its time: the first time it becomes a tombstone, the second time nothing.
local head, entities, log, seqs, results, recent, ages = unpack(KEYS)
local resource, now, before = unpack(ARGV, 3)
local since = redis.call('ZSCORE', ages, resource)
local slot, tombstone = unpack(redis.call('HMGET', head, 'slot', 'tombstone'))
if slot or not since or tonumber(since) >= tonumber(before) then
  return 'WAITS'
end
if tombstone then
  redis.call('DEL', head, seqs, results, recent)
  redis.call('ZREM', ages, resource)
  return 'REMOVED'
end
redis.call('DEL', entities, log)
redis.call('HDEL', head, 'version', 'notebook')
redis.call('HSET', head, 'tombstone', '1')
redis.call('ZADD', ages, now, resource)
return 'BURIED'
