-- A record is `until:value`.
local records, ends = unpack(KEYS)
local key, value, ending, now, if_absent = unpack(ARGV, 3)
if if_absent == '1' then
  local there = redis.call('HGET', records, key)
  local lasts = there and string.match(there, '^%d+')
  if lasts and (lasts == '0' or not at_most(lasts, now)) then
    return 0
  end
end
redis.call('HSET', records, key, ending .. ':' .. value)
if ending == '0' then
  redis.call('ZREM', ends, key)
else
  redis.call('ZADD', ends, ending, key)
end
return 1
