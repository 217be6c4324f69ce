return redis.call('HMGET', KEYS[1], 'slot', 'slot_fence', 'made')
