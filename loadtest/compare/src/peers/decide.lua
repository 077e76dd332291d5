-- The decision in Redis: one script is one step, nothing comes between.
-- KEYS: the customer (hash: limit, exposure), the order (the idempotency key), the stream of all decisions.
-- ARGV: amount in yen, merchant, terminal. Answers 1 approved, 0 denied.
local first = redis.call('GET', KEYS[2])
if first then
    return tonumber(first)
end
local amount = tonumber(ARGV[1])
local customer = redis.call('HMGET', KEYS[1], 'limit', 'exposure')
local verdict = 0
if customer[1] and customer[2] + amount <= tonumber(customer[1]) then
    verdict = 1
    redis.call('HINCRBY', KEYS[1], 'exposure', amount)
end
-- An order is known for 48 h, as Sokketsu's.
redis.call('SET', KEYS[2], verdict, 'EX', 172800)
redis.call('XADD', KEYS[3], '*', 'order', KEYS[2], 'customer', KEYS[1], 'amount', amount,
    'merchant', ARGV[2], 'terminal', ARGV[3], 'approved', verdict)
return verdict
