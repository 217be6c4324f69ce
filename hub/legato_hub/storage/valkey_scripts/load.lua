local head, entities = unpack(KEYS)
local stored, written_by, epoch, version, notebook, tombstone =
  unpack(redis.call('HMGET', head, 'revision', 'origin', 'epoch', 'version', 'notebook', 'tombstone'))
local revision = revision_of(stored, written_by)
if revision == '0' then
  return {revision}
end
local inherited = epoch and epoch ~= ARGV[2] and '1' or ''
return {revision, version or '', notebook or '', tombstone or '', inherited, redis.call('HGETALL', entities)}
