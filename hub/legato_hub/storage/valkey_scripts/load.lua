local head, entities = unpack(KEYS)
local stored, written_by, version, notebook, tombstone =
  unpack(redis.call('HMGET', head, 'revision', 'origin', 'version', 'notebook', 'tombstone'))
local revision = revision_of(stored, written_by)
if revision == '0' then
  return {revision}
end
return {revision, version or '', notebook or '', tombstone or '', redis.call('HGETALL', entities)}
