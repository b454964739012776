import java.io.*;
import java.nio.file.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.*;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;
import org.apache.kafka.server.storage.log.FetchIsolation;

// Writes a partition with Apache Kafka's own log: golden files. Gen write DIR | Gen read DIR clean|unclean
public class Gen {
    static UnifiedLog open(File dir, boolean clean) throws Exception {
        KafkaScheduler s = new KafkaScheduler(1);
        s.startup();
        Map<String, Object> p = new HashMap<>();
        p.put("segment.bytes", 1048576); p.put("index.interval.bytes", 200); p.put("segment.index.bytes", 4096);
        p.put("message.timestamp.after.max.ms", Long.MAX_VALUE);
        p.put("internal.segment.bytes", 4000);
        return UnifiedLog.create(dir, new LogConfig(p), 0, 0, s, new BrokerTopicStats(), Time.SYSTEM, 3600000,
            new ProducerStateManagerConfig(1000000000, false), 600000, new LogDirFailureChannel(1), clean, Optional.of(new Uuid(1, 2)));
    }
    public static void main(String[] a) throws Exception {
        File dir = new File(a[1]).getAbsoluteFile();
        if (a[0].equals("read")) { read(dir, a[2].equals("clean")); System.exit(0); }
        dir.mkdirs();
        UnifiedLog log = open(dir, true);
        String[] codecs = {"none", "gzip", "snappy", "lz4", "zstd"};
        long now = 1700000000000L;
        for (int i = 0; i < 60; i++) {
            SimpleRecord[] r = new SimpleRecord[1 + i % 7];
            for (int j = 0; j < r.length; j++)
                r[j] = new SimpleRecord(now + i * 10 + j, (j == 3 ? null : ("key-" + i + "-" + j).getBytes(StandardCharsets.UTF_8)),
                    (j == 5 ? null : ("value " + i + " " + j + " some words that repeat, some words that repeat").getBytes(StandardCharsets.UTF_8)),
                    j % 2 == 0 ? new Header[0] : new Header[]{new RecordHeader("h" + j, j == 1 ? null : new byte[]{1, 2})});
            Compression c = Compression.of(codecs[i % 5]).build();
            log.appendAsLeader(i % 2 == 0 ? MemoryRecords.withRecords(c, r)
                : MemoryRecords.withIdempotentRecords(c, 7L, (short) (i / 30), seq(i), r), i / 20);
        }
        copy(dir, new File(a[1] + "-killed"));
        log.close();
        System.exit(0);
    }
    static Map<Integer, Integer> seqs = new HashMap<>();
    static int seq(int i) { int e = i / 30; int s = seqs.getOrDefault(e, 0); seqs.put(e, s + 1 + i % 7); return s; }
    static void copy(File from, File to) throws IOException {
        to.mkdirs();
        for (File f : from.listFiles()) Files.copy(f.toPath(), to.toPath().resolve(f.getName()), StandardCopyOption.REPLACE_EXISTING);
    }
    static void read(File dir, boolean clean) throws Exception {
        UnifiedLog log = open(dir, clean);
        long n = 0, off = log.logStartOffset();
        while (off < log.logEndOffset()) {
            FetchDataInfo d = log.read(off, 1 << 20, FetchIsolation.LOG_END, true);
            for (RecordBatch b : d.records.batches()) { b.ensureValid(); for (org.apache.kafka.common.record.internal.Record r : b) { if (r.offset() >= off) n++; } off = b.nextOffset(); }
        }
        System.out.println("start=" + log.logStartOffset() + " end=" + log.logEndOffset() + " records=" + n + " segments=" + log.numberOfSegments()
            + " epoch=" + log.latestEpoch() + " producers=" + log.activeProducers().size());
        log.close();
    }
}
