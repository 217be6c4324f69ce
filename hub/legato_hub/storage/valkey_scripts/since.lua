-- The present revision, and the log after revision ARGV[3]; ARGV[4] is the one after that.
local head, log = unpack(KEYS)
local revision = revision_of(unpack(redis.call('HMGET', head, 'revision', 'origin')))
if at_most(revision, ARGV[3]) then
  return {revision, {}}
end
return {revision, redis.call('XRANGE', log, ARGV[4] .. '-0', '+')}
