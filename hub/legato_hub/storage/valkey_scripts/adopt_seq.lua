local head, seqs, open = unpack(KEYS)
local resource, client, seq = unpack(ARGV, 3)
local last = redis.call('HGET', seqs, ':' .. client)
if last or seq == '0' then
  return last or '0'
end
redis.call('HSET', seqs, ':' .. client, seq)
if redis.call('EXISTS', head) == 0 then
  redis.call('HSET', head, 'revision', '0', 'origin', origin, 'made', microseconds())
  redis.call('ZADD', open, -1, resource) -- its age is not known before the first sweep
end
return seq
