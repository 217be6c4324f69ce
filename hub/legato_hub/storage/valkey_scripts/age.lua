-- Count the age of a resource from now on, if nobody began to meanwhile.
local resource, now = unpack(ARGV, 3)
if redis.call('ZSCORE', KEYS[1], resource) == '-1' then
  redis.call('ZADD', KEYS[1], now, resource)
end
return 1
