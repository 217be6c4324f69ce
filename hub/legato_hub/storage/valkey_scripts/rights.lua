-- What the user may not do of all that Legato does. Stands alone: nothing is read or written.
local key, channel = 'legato:{b00}:rights', 'legato:{b00}:rights'
local missing = {}
for _, command in ipairs({
  {'EVALSHA', 'x', '0'}, {'INFO'}, {'TIME'}, {'DEL', key}, {'EXISTS', key},
  {'HGET', key, 'f'}, {'HSET', key, 'f', 'v'}, {'HSETNX', key, 'f', 'v'}, {'HDEL', key, 'f'}, {'HMGET', key, 'f'},
  {'HGETALL', key}, {'HKEYS', key}, {'HEXISTS', key, 'f'},
  {'ZADD', key, '0', 'm'}, {'ZREM', key, 'm'}, {'ZSCORE', key, 'm'}, {'ZCARD', key}, {'ZPOPMIN', key},
  {'ZRANGEBYSCORE', key, '0', '1'}, {'ZREVRANGEBYLEX', key, '+', '-'},
  {'XADD', key, '*', 'f', 'v'}, {'XRANGE', key, '-', '+'},
  {'SPUBLISH', channel, 'm'}, {'SSUBSCRIBE', channel}, {'SUNSUBSCRIBE', channel}, {'PING'},
}) do
  if not redis.acl_check_cmd(unpack(command)) then
    missing[#missing + 1] = command[1]
  end
end
return missing
