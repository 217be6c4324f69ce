-- Stands before every other script. ARGV[1]: the replication ids that the caller's epoch was made of; ARGV[2]: that epoch.
-- A server that is none of those primaries may have lost what was told, so nothing is read from it or written to it.
local info = redis.call('INFO', 'replication')
local origin = string.match(info, 'master_replid:(%x+)')
if not string.find(info, 'role:master', 1, true) or not string.find(ARGV[1], origin, 1, true) then
  return redis.error_reply('FENCED ' .. origin)
end

-- Counts are strings: a seq may be above 2^53, where a number of Lua is not exact any more.
local function at_most(a, b)
  return #a < #b or (#a == #b and a <= b)
end

-- A resource last written under another history begins again far above whatever may have been lost, and elsewhere in
-- each history: so a base or a cursor of a lost one matches nothing by accident.
local function revision_of(stored, written_by)
  if not stored or stored == '0' then
    return '0'
  end
  if string.find(ARGV[1], written_by, 1, true) then
    return stored
  end
  return string.format('%.0f', tonumber(stored) + 1000000 + tonumber(string.sub(origin, 1, 7), 16))
end

local function microseconds()
  local time = redis.call('TIME')
  return string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
end

-- Results are counted: a repeat may have consumed a second seq with the same one.
local function keep(results, id)
  local count = redis.call('HGET', results, '#' .. id)
  redis.call('HSET', results, '#' .. id, (count or 1) + 1)
end

local function drop(results, id)
  local count = redis.call('HGET', results, '#' .. id)
  if not count then
    redis.call('HDEL', results, id)
  elseif count == '2' then
    redis.call('HDEL', results, '#' .. id)
  else
    redis.call('HSET', results, '#' .. id, count - 1)
  end
end

-- `leaving`: the seq that the window of 64 lets go with this one, '0' for none.
local function consume(seqs, results, client, seq, id, leaving)
  redis.call('HSET', seqs, ':' .. client, seq, seq .. ':' .. client, id)
  if leaving ~= '0' then
    local gone = redis.call('HGET', seqs, leaving .. ':' .. client)
    if gone then
      redis.call('HDEL', seqs, leaving .. ':' .. client)
      drop(results, gone)
    end
  end
end
