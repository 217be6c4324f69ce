return redis.call('ZADD', KEYS[1], 0, ARGV[3])
