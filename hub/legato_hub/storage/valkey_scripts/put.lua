-- A record is `until:value`.
local records, ends = unpack(KEYS)
local key, value, ending, now, condition, replaced = unpack(ARGV, 3)
if condition ~= '' then
  local there = redis.call('HGET', records, key)
  local lasts, kept = string.match(there or '', '^(%d+):(.*)$')
  local lives = lasts and (lasts == '0' or not at_most(lasts, now))
  if (condition == 'absent' and lives) or (condition == 'replacing' and not (lives and kept == replaced)) then
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
