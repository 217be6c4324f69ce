-- Of any number of heads.
local revisions = {}
for at, head in ipairs(KEYS) do
  revisions[at] = revision_of(unpack(redis.call('HMGET', head, 'revision', 'origin')))
end
return revisions
