-- Records of one bucket past their time, at most ARGV[4] of them.
local records, ends = unpack(KEYS)
local gone = redis.call('ZRANGEBYSCORE', ends, '-inf', ARGV[3], 'LIMIT', 0, ARGV[4])
for _, key in ipairs(gone) do
  redis.call('HDEL', records, key)
  redis.call('ZREM', ends, key)
end
return #gone
