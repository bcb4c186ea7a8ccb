import static org.apache.kafka.streams.CloseOptions.GroupMembershipOperation.LEAVE_GROUP;

import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;

/**
 * The word count that Kafka Streams' documentation begins with. Every word that it counts
 * is one record with the new count.
 * Arguments: brokers, application id, topic of lines, topic of counts, state directory, guarantee.
 */
public class WordCount {
    public static void main(String[] args) throws InterruptedException {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        config.put("application.id", args[1]);
        config.put("state.dir", args[4]);
        config.put("processing.guarantee", args[5]);
        config.put("default.key.serde", Serdes.StringSerde.class);
        config.put("default.value.serde", Serdes.StringSerde.class);
        config.put("replication.factor", 3);
        config.put("statestore.cache.max.bytes", 0); // or it would skip counts between two commits
        config.put("commit.interval.ms", 200);
        config.put("consumer.auto.offset.reset", "earliest");
        config.put("consumer.session.timeout.ms", 6000); // the least: an instance is killed
        config.put("consumer.heartbeat.interval.ms", 1000);

        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(args[2])
            .flatMapValues(line -> List.of(line.split(" ")))
            .groupBy((key, word) -> word)
            .count()
            .toStream()
            .peek((word, n) -> System.out.println("counted " + word + " " + n))
            .mapValues(n -> Long.toString(n))
            .to(args[3]);

        KafkaStreams streams = new KafkaStreams(builder.build(), config);
        CountDownLatch ended = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            System.out.println("state " + now);
            if (now == KafkaStreams.State.ERROR) {
                new Thread(() -> Runtime.getRuntime().halt(1)).start();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            // Without this option it stays in the group until its session ends.
            streams.close(CloseOptions.groupMembershipOperation(LEAVE_GROUP).withTimeout(Duration.ofMinutes(1)));
            ended.countDown();
        }));
        streams.start();
        ended.await();
    }
}
