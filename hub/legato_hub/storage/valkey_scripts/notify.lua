return redis.call('SPUBLISH', KEYS[1], ARGV[3])
