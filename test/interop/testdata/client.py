"""librdkafka by confluent-kafka: produce records to a topic with a codec, or read topics to their ends."""
import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition


def produce(bootstrap, topic, codec, first, count):
    errors = []
    p = Producer({"bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": True, "linger.ms": 20})
    for i in range(first, first + count):
        p.produce(topic, value=f"{i} {'x' * 100}".encode(), on_delivery=lambda err, _: errors.append(err) if err else None)
        p.poll(0)
    if p.flush(120) or errors:
        sys.exit(f"not delivered: {errors[:1]}")


def consume(bootstrap, topics):
    c = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False, "check.crcs": True})
    for topic in topics:
        ends, count = {}, 0
        for p in c.list_topics(topic, timeout=60).topics[topic].partitions:
            low, high = c.get_watermark_offsets(TopicPartition(topic, p), timeout=60)
            if high > low:
                ends[p] = high
        c.assign([TopicPartition(topic, p, 0) for p in ends])
        seen = set()
        while ends:
            m = c.poll(60)
            if m is None:
                sys.exit(f"{topic}: nothing came for a minute, left: {ends}")
            if m.error():
                raise KafkaException(m.error())
            seen.add(m.value().split(b" ")[0])
            count += 1
            if ends.get(m.partition()) == m.offset() + 1:
                del ends[m.partition()]
        print(topic, count, len(seen))
        c.unassign()
    c.close()


if sys.argv[1] == "produce":
    produce(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))
else:
    consume(sys.argv[2], sys.argv[3:])
