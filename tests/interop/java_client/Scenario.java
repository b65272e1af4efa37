import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Apache's Java client put to work: each scenario prints `name=value` lines that a test compares with what it expects. */
public final class Scenario {
    private static final Duration POLL = Duration.ofMillis(200);

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[1];
        switch (arguments[0]) {
            case "write" -> write(bootstrap, List.of(arguments[2].split(",")), Integer.parseInt(arguments[3]));
            case "read" -> read(bootstrap, List.of(arguments[2].split(",")), Integer.parseInt(arguments[3]));
            case "admin" -> administer(bootstrap, arguments[2]);
            case "transactions" -> transactions(bootstrap, arguments[2], arguments[3]);
            case "fence" -> fence(bootstrap, arguments[2]);
            case "copy" -> copy(bootstrap, arguments[2], arguments[3], arguments[4], arguments[5], Long.parseLong(arguments[6]));
            case "member" -> member(bootstrap, arguments[2], arguments[3], arguments[4], arguments[5]);
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    /** `topics` are `name:codec`; each gets `count` records with key, value, a header and a timestamp. */
    private static void write(String bootstrap, List<String> topics, int count) throws Exception {
        for (String target : topics) {
            String[] parts = target.split(":");
            try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, Map.of("compression.type", parts[1]))) {
                for (int index = 0; index < count; index++) {
                    ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                        parts[0], null, 1_700_000_000_000L + index, bytes("key-" + index), bytes("value-" + index));
                    record.headers().add(new RecordHeader("trace", bytes("java")));
                    producer.send(record);
                }
                producer.flush();
            }
            say("written", target);
        }
    }

    private static void read(String bootstrap, List<String> topics, int count) {
        for (String topic : topics) {
            try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, Map.of())) {
                List<TopicPartition> partitions = partitions(consumer, topic);
                consumer.assign(partitions);
                consumer.seekToBeginning(partitions);
                Map<String, String> found = new TreeMap<>();
                while (found.size() < count) {
                    for (ConsumerRecord<byte[], byte[]> record : consumer.poll(POLL)) {
                        found.put(text(record.key()), text(record.value()));
                    }
                }
                say(topic, found.entrySet().stream().map(e -> e.getKey() + ":" + e.getValue()).collect(Collectors.joining(",")));
            }
        }
    }

    private static void administer(String bootstrap, String topic) throws Exception {
        try (Admin admin = admin(bootstrap)) {
            say("nodes", admin.describeCluster().nodes().get().size());
            admin.createTopics(List.of(new NewTopic(topic, 2, (short) 1).configs(Map.of("retention.ms", "1000000")))).all().get();
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
            TopicDescription described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
            say("partitions", described.partitions().size());
            TopicDescription byId = admin.describeTopics(
                org.apache.kafka.common.TopicCollection.ofTopicIds(List.of(described.topicId()))).allTopicIds().get().get(described.topicId());
            say("by id", byId.name().equals(topic));
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry("segment.ms", "600000"), AlterConfigOp.OpType.SET)))).all().get();
            Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            say("retention.ms", config.get("retention.ms").value() + "/" + config.get("retention.ms").source());
            say("segment.ms", config.get("segment.ms").value());
            try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, Map.of())) {
                for (int index = 0; index < 10; index++) {
                    producer.send(new ProducerRecord<>(topic, 0, 1_000L + (index == 4 ? 100 : index), null, bytes("v" + index))).get();
                }
            }
            TopicPartition first = new TopicPartition(topic, 0);
            say("earliest", offset(admin, first, OffsetSpec.earliest()));
            say("latest", offset(admin, first, OffsetSpec.latest()));
            say("max timestamp", offset(admin, first, OffsetSpec.maxTimestamp()));
            say("for timestamp", offset(admin, first, OffsetSpec.forTimestamp(1_005L)));
            say("beyond", offset(admin, first, OffsetSpec.forTimestamp(9_999_999L)));
            admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(4))).all().get();
            say("low watermark", offset(admin, first, OffsetSpec.earliest()));
            say("producers", admin.describeProducers(List.of(first)).partitionResult(first).get().activeProducers().size());
            admin.alterConsumerGroupOffsets(topic + "-group", Map.of(first, new OffsetAndMetadata(5, Optional.of(0), "note"))).all().get();
            OffsetAndMetadata committed = admin.listConsumerGroupOffsets(topic + "-group").partitionsToOffsetAndMetadata().get().get(first);
            say("committed", committed.offset() + "/" + committed.metadata());
            say("groups", admin.listGroups().all().get().stream().filter(group -> group.groupId().equals(topic + "-group")).count());
            admin.deleteConsumerGroups(List.of(topic + "-group")).all().get();
            say("log dirs", admin.describeLogDirs(List.of(described.partitions().get(0).leader().id())).allDescriptions().get().size());
            say("reassignments", admin.listPartitionReassignments().reassignments().get().size());
            say("features", new TreeMap<>(admin.describeFeatures().featureMetadata().get().finalizedFeatures()).entrySet().stream()
                .map(entry -> entry.getKey() + "=" + entry.getValue().maxVersionLevel()).collect(Collectors.joining(",")));
            admin.deleteTopics(List.of(topic)).all().get();
            say("left", admin.listTopics().names().get().contains(topic));
        }
    }

    private static long offset(Admin admin, TopicPartition partition, OffsetSpec spec) throws Exception {
        ListOffsetsResultInfo found = admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get();
        return found.offset();
    }

    /** One committed, one aborted, one committed transaction of ten records each. */
    private static void transactions(String bootstrap, String topic, String id) throws Exception {
        try (Admin admin = admin(bootstrap); KafkaProducer<byte[], byte[]> producer = producer(bootstrap, Map.of("transactional.id", id))) {
            producer.initTransactions();
            for (String outcome : List.of("one", "aborted", "two")) {
                producer.beginTransaction();
                for (int index = 0; index < 10; index++) {
                    producer.send(new ProducerRecord<>(topic, bytes(outcome + "-" + index), bytes(outcome)));
                }
                producer.flush();
                if (outcome.equals("two")) {
                    say("state", admin.describeTransactions(List.of(id)).description(id).get().state());
                    say("listed", admin.listTransactions().all().get().stream().filter(t -> t.transactionalId().equals(id)).count());
                }
                if (outcome.equals("aborted")) {
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                }
            }
        }
        for (String level : List.of("read_committed", "read_uncommitted")) {
            try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, Map.of("isolation.level", level))) {
                List<TopicPartition> partitions = partitions(consumer, topic);
                consumer.assign(partitions);
                consumer.seekToBeginning(partitions);
                Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
                int found = 0;
                while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                    found += consumer.poll(POLL).count();
                }
                say(level, found);
            }
        }
    }

    /** A second producer of the same id takes over; the first one's commit fails for good. */
    private static void fence(String bootstrap, String topic) {
        Map<String, String> settings = Map.of("transactional.id", topic + "-fenced");
        try (KafkaProducer<byte[], byte[]> zombie = producer(bootstrap, settings); KafkaProducer<byte[], byte[]> heir = producer(bootstrap, settings)) {
            zombie.initTransactions();
            zombie.beginTransaction();
            zombie.send(new ProducerRecord<>(topic, bytes("zombie"), bytes("lost")));
            zombie.flush();
            heir.initTransactions();
            try {
                zombie.commitTransaction();
                say("zombie", "committed");
            } catch (ProducerFencedException fenced) {
                say("zombie", "fenced");
            } catch (KafkaException other) {
                say("zombie", other.getClass().getSimpleName());
            }
            heir.beginTransaction();
            heir.send(new ProducerRecord<>(topic, bytes("heir"), bytes("kept")));
            heir.commitTransaction();
            say("heir", "committed");
        }
    }

    /** Read-process-write, exactly once, of the first `end` records of `from`. Survives the broker's death. */
    private static void copy(String bootstrap, String from, String to, String group, String id, long end) throws Exception {
        Map<String, String> settings = Map.of("group.id", group, "isolation.level", "read_committed", "max.poll.records", "50");
        boolean going = true;
        while (going) {
            try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, settings);
                 KafkaProducer<byte[], byte[]> producer = producer(bootstrap, Map.of("transactional.id", id, "transaction.timeout.ms", "20000"))) {
                producer.initTransactions();
                consumer.subscribe(List.of(from));
                while (true) {
                    var records = consumer.poll(POLL);
                    if (!records.isEmpty()) {
                        producer.beginTransaction();
                        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                        for (ConsumerRecord<byte[], byte[]> record : records) {
                            producer.send(new ProducerRecord<>(to, record.key(), record.value()));
                            offsets.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
                        }
                        producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                        producer.commitTransaction();
                        say("copied", records.count());
                    }
                    Set<TopicPartition> owned = consumer.assignment();
                    if (!owned.isEmpty() && owned.stream().mapToLong(consumer::position).sum() >= end) {
                        going = false;
                        break;
                    }
                }
            } catch (KafkaException failed) {
                say("again", failed.getClass().getSimpleName());
            }
        }
        say("done", end);
    }

    /** A group member until `seconds` are over; says what it owns after each change and how much it read. */
    private static void member(String bootstrap, String topics, String group, String protocol, String seconds) {
        Map<String, String> settings = new HashMap<>(Map.of("group.id", group, "group.protocol", protocol, "auto.offset.reset", "earliest"));
        long until = System.nanoTime() + Long.parseLong(seconds) * 1_000_000_000L;
        int found = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, settings)) {
            consumer.subscribe(List.of(topics.split(",")), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                    say("revoked", partitions.size());
                }

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                    say("owned", consumer.assignment().size());
                }
            });
            while (System.nanoTime() < until) {
                found += consumer.poll(POLL).count();
            }
            consumer.commitSync();
        }
        say("read", found);
    }

    private static List<TopicPartition> partitions(KafkaConsumer<byte[], byte[]> consumer, String topic) {
        return consumer.partitionsFor(topic).stream().map(info -> new TopicPartition(topic, info.partition())).toList();
    }

    private static KafkaProducer<byte[], byte[]> producer(String bootstrap, Map<String, String> more) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("acks", "all");
        settings.put("linger.ms", "5");
        settings.putAll(more);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, Map<String, String> more) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static Admin admin(String bootstrap) {
        return Admin.create(Map.of("bootstrap.servers", bootstrap, "default.api.timeout.ms", "30000"));
    }

    private static synchronized void say(String name, Object value) {
        System.out.println(name + "=" + value);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return bytes == null ? "" : new String(bytes, StandardCharsets.UTF_8);
    }
}
