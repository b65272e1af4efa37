// franz-go put to work: each scenario prints `name=value` lines that a test compares with what it expects.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	arguments := os.Args[2:]
	ctx, cancel := context.WithTimeout(context.Background(), 80*time.Second)
	defer cancel()
	switch os.Args[1] {
	case "write":
		write(ctx, arguments[0], strings.Split(arguments[1], ","), number(arguments[2]))
	case "read":
		read(ctx, arguments[0], strings.Split(arguments[1], ","), number(arguments[2]))
	case "admin":
		administer(ctx, arguments[0], arguments[1])
	case "transactions":
		transactions(ctx, arguments[0], arguments[1])
	case "copy":
		readProcessWrite(ctx, arguments[0], arguments[1], arguments[2], arguments[3], number(arguments[4]))
	case "member":
		member(ctx, arguments[0], arguments[1], arguments[2], arguments[3], number(arguments[4]))
	default:
		fail(errors.New("unknown scenario " + os.Args[1]))
	}
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// write: topics are `name:codec`; each gets count records.
func write(ctx context.Context, bootstrap string, targets []string, count int) {
	for _, target := range targets {
		topic, codec, _ := strings.Cut(target, ":")
		client := connect(bootstrap, kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codecs[codec]))
		for index := 0; index < count; index++ {
			client.Produce(ctx, &kgo.Record{
				Key: []byte(fmt.Sprintf("key-%d", index)), Value: []byte(fmt.Sprintf("value-%d", index)),
				Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("go")}},
			}, func(_ *kgo.Record, err error) { fail(err) })
		}
		fail(client.Flush(ctx))
		client.Close()
		say("written", target)
	}
}

func read(ctx context.Context, bootstrap string, topics []string, count int) {
	for _, topic := range topics {
		client := connect(bootstrap, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		var found []string
		for len(found) < count {
			fetches := client.PollFetches(ctx)
			failFetch(fetches)
			fetches.EachRecord(func(record *kgo.Record) {
				found = append(found, string(record.Key)+":"+string(record.Value))
			})
		}
		client.Close()
		sort.Strings(found)
		say(topic, strings.Join(found, ","))
	}
}

func administer(ctx context.Context, bootstrap string, topic string) {
	client := connect(bootstrap)
	defer client.Close()
	admin := kadm.NewClient(client)
	retention := "1000000"
	_, err := admin.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": &retention}, topic)
	fail(err)
	grown, err := admin.UpdatePartitions(ctx, 3, topic)
	fail(err)
	fail(grown.Error())
	described, err := admin.ListTopics(ctx, topic)
	fail(err)
	say("partitions", len(described[topic].Partitions))
	configs, err := admin.DescribeTopicConfigs(ctx, topic)
	fail(err)
	for _, config := range configs[0].Configs {
		if config.Key == "retention.ms" {
			say("retention.ms", *config.Value)
		}
	}
	for index := 0; index < 10; index++ {
		fail(client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("value")}).FirstErr())
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	fail(err)
	total := int64(0)
	ends.Each(func(offset kadm.ListedOffset) { total += offset.Offset })
	say("written", total)
	producers, err := admin.DescribeProducers(ctx, described.TopicsSet())
	fail(err)
	say("producers known", len(producers.SortedProducers()) > 0)
	offsets := make(kadm.Offsets)
	offsets.AddOffset(topic, 0, 5, -1)
	fail(admin.CommitAllOffsets(ctx, topic+"-group", offsets))
	committed, err := admin.FetchOffsets(ctx, topic+"-group")
	fail(err)
	at, _ := committed.Lookup(topic, 0)
	say("committed", at.At)
	_, err = admin.DeleteGroup(ctx, topic+"-group")
	fail(err)
	_, err = admin.DeleteTopic(ctx, topic)
	fail(err)
	left, err := admin.ListTopics(ctx)
	fail(err)
	say("left", left.Has(topic))
}

// transactions: one committed, one aborted, one committed transaction of ten records each.
func transactions(ctx context.Context, bootstrap string, topic string) {
	client := connect(bootstrap, kgo.TransactionalID(topic+"-go"), kgo.DefaultProduceTopic(topic))
	for _, outcome := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		fail(client.BeginTransaction())
		for index := 0; index < 10; index++ {
			client.Produce(ctx, &kgo.Record{Value: []byte("value")}, func(_ *kgo.Record, err error) { fail(err) })
		}
		fail(client.Flush(ctx))
		fail(client.EndTransaction(ctx, outcome))
	}
	client.Close()
	for name, level := range map[string]kgo.IsolationLevel{"read_committed": kgo.ReadCommitted(), "read_uncommitted": kgo.ReadUncommitted()} {
		reader := connect(bootstrap, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(level))
		found := 0
		for quiet := 0; quiet < 3; {
			short, cancel := context.WithTimeout(ctx, time.Second)
			count := reader.PollFetches(short).NumRecords()
			cancel()
			found += count
			if count == 0 {
				quiet++
			}
		}
		reader.Close()
		say(name, found)
	}
}

// copyPause makes a copy last long enough for somebody to kill the broker in the middle of it, more than once.
const copyPause = 20 * time.Millisecond

// readProcessWrite copies until the output holds count records, exactly once, through whatever happens to the broker.
func readProcessWrite(ctx context.Context, bootstrap, from, to, group string, count int) {
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(bootstrap), kgo.TransactionalID(group+"-"+strconv.Itoa(os.Getpid())), kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.RequireStableFetchOffsets(), kgo.MaxConcurrentFetches(1), kgo.FetchMaxBytes(16_384), kgo.TransactionTimeout(20*time.Second),
	)
	fail(err)
	defer session.Close()
	copied := 0
	for copied < count {
		time.Sleep(copyPause)
		fetches := session.PollRecords(ctx, 20)
		if ctx.Err() != nil {
			fail(ctx.Err())
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		fail(session.Begin())
		promise := kgo.AbortingFirstErrPromise(session.Client())
		fetches.EachRecord(func(record *kgo.Record) {
			session.Produce(ctx, &kgo.Record{Topic: to, Key: record.Key, Value: record.Value}, promise.Promise())
		})
		outcome := kgo.TransactionEndTry(promise.Err() == nil)
		committed, err := session.End(ctx, outcome)
		if err != nil && !errors.Is(err, kerr.OperationNotAttempted) {
			say("again", strings.ReplaceAll(err.Error(), "\n", " "))
		}
		if committed {
			copied += fetches.NumRecords()
			say("copied", copied)
		}
	}
	say("done", copied)
}

// member is in a group for some seconds and says what it owns and read.
func member(ctx context.Context, bootstrap, topic, group, protocol string, seconds int) {
	if protocol == "consumer" {
		ctx = context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true)
	}
	var lock sync.Mutex
	owned := 0
	changed := func(change int) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			lock.Lock()
			defer lock.Unlock()
			owned += change * len(partitions[topic])
			say("owned", owned)
		}
	}
	client := connect(bootstrap, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.WithContext(ctx),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(changed(1)), kgo.OnPartitionsRevoked(changed(-1)), kgo.OnPartitionsLost(changed(-1)))
	until := time.Now().Add(time.Duration(seconds) * time.Second)
	found := 0
	for time.Now().Before(until) {
		short, cancel := context.WithDeadline(ctx, until)
		found += client.PollFetches(short).NumRecords()
		cancel()
	}
	fail(client.CommitUncommittedOffsets(ctx))
	client.LeaveGroup()
	client.Close()
	say("read", found)
}

func connect(bootstrap string, options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(bootstrap))...)
	fail(err)
	return client
}

func failFetch(fetches kgo.Fetches) {
	for _, failed := range fetches.Errors() {
		fail(failed.Err)
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	fail(err)
	return value
}

func say(name string, value any) {
	fmt.Printf("%s=%v\n", name, value)
}
