//! Tansu's storage with the records kept by us.
//!
//! Topics, groups and producer ids stay with tansu's `memory` engine (the directory). Records do not: there a log only
//! grows, each fetch lists all of it, `ListOffsets` answers one past the *first* record of the last batch, and
//! `DeleteRecords` panics. Transactions are refused; nothing here uses them.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use opentelemetry::global;
use serde_json::json;
use tansu_sans_io::{
    ConfigResource, ErrorCode, IsolationLevel, ListOffset, ScramMechanism,
    create_topics_request::CreatableTopic,
    delete_groups_response::DeletableGroupResult,
    delete_records_request::DeleteRecordsTopic,
    delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    describe_cluster_response::DescribeClusterBroker,
    describe_configs_response::DescribeConfigsResult,
    describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic,
    incremental_alter_configs_request::AlterConfigsResource,
    incremental_alter_configs_response::AlterConfigsResourceResponse,
    list_groups_response::ListedGroup,
    record::deflated::Batch,
    txn_offset_commit_response::TxnOffsetCommitResponseTopic,
};
use tansu_storage::{
    BrokerRegistrationRequest, Error, GroupDetail, ListOffsetResponse, MetadataResponse, NamedGroupDetail,
    OffsetCommitRequest, OffsetStage, ProducerIdResponse, Result, ScramCredential, Storage, StorageContainer, TopicId,
    Topition, TxnAddPartitionsRequest, TxnAddPartitionsResponse, TxnOffsetCommitRequest, UpdateError, Version,
};
use tokio::sync::Notify;
use tracing::warn;
use url::Url;
use uuid::Uuid;

use super::partition::Partition;

#[derive(Clone, Debug)]
pub(super) struct Memory {
    directory: StorageContainer,
    partitions: Arc<Mutex<BTreeMap<Topition, Partition>>>,
    /// Producer ids this broker gave. They start at the time of its start: an id must not come again in a later life,
    /// or what a new producer sends would be taken for repetitions of what the old one sent.
    producers: Arc<Mutex<Range<i64>>>,
    /// Told of each append.
    appended: Arc<Notify>,
}

impl Memory {
    pub(super) fn new(directory: StorageContainer) -> Self {
        let first = milliseconds(SystemTime::now()) << 16;
        let producers = Arc::new(Mutex::new(first..first));
        Self { directory, partitions: Arc::default(), producers, appended: Arc::default() }
    }

    /// Waits until one of these partitions has a record at its offset or after.
    pub(super) async fn readable(&self, wanted: &[(Topition, i64)]) {
        loop {
            let appended = self.appended.notified();
            if wanted.iter().any(|(topition, offset)| self.stage(topition).1 > *offset) {
                return;
            }
            appended.await;
        }
    }

    /// Publishes what the log holds, so that its flatness can be watched.
    pub(super) fn measure(&self) {
        let meter = global::meter("broker");
        let partitions = self.partitions.clone();
        meter
            .i64_observable_up_down_counter("broker.log.size")
            .with_unit("By")
            .with_description("Bytes of all records the broker remembers")
            .with_callback(move |observer| observer.observe(total(&partitions, Partition::bytes), &[]))
            .build();
        let partitions = self.partitions.clone();
        meter
            .i64_observable_up_down_counter("broker.log.batches")
            .with_unit("{batch}")
            .with_description("Batches the broker remembers")
            .with_callback(move |observer| observer.observe(total(&partitions, Partition::batches), &[]))
            .build();
    }

    fn partitions(&self) -> MutexGuard<'_, BTreeMap<Topition, Partition>> {
        self.partitions.lock().expect("no code panics while it holds the partitions")
    }

    fn producers(&self) -> MutexGuard<'_, Range<i64>> {
        self.producers.lock().expect("no code panics while it holds the producers")
    }

    fn stage(&self, topition: &Topition) -> (i64, i64) {
        self.partitions().get(topition).map_or((0, 0), |partition| (partition.start(), partition.end()))
    }
}

fn total(partitions: &Mutex<BTreeMap<Topition, Partition>>, of: impl Fn(&Partition) -> usize) -> i64 {
    let partitions = partitions.lock().expect("no code panics while it holds the partitions");
    partitions.values().map(of).sum::<usize>() as i64
}

fn milliseconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[async_trait]
impl Storage for Memory {
    async fn produce(&self, transaction_id: Option<&str>, topition: &Topition, batch: Batch) -> Result<i64> {
        if transaction_id.is_some() {
            return Err(Error::Api(ErrorCode::InvalidTxnState));
        }
        if batch.is_idempotent() && !self.producers().contains(&batch.producer_id) {
            return Err(Error::Api(ErrorCode::UnknownProducerId));
        }
        let topic = TopicId::Name(topition.topic().to_owned());
        let metadata = self.directory.metadata(Some(&[topic])).await?;
        let known = metadata.topics().first().is_some_and(|topic| {
            topic.partitions.iter().flatten().any(|partition| partition.partition_index == topition.partition())
        });
        if !known {
            return Err(Error::Api(ErrorCode::UnknownTopicOrPartition));
        }
        let mut partitions = self.partitions();
        let partition = partitions.entry(topition.clone()).or_default();
        let offset = partition.append(batch).map_err(Error::Api)?;
        self.appended.notify_waiters();
        let unread = partition.trim();
        if unread > 0 {
            let (topic, number) = (topition.topic(), topition.partition());
            warn!("{topic}/{number} is full: forgot {unread} batches that some group had not read");
        }
        Ok(offset)
    }

    async fn fetch(
        &self,
        topition: &Topition,
        offset: i64,
        _min_bytes: u32,
        max_bytes: u32,
        _isolation: IsolationLevel,
    ) -> Result<Vec<Batch>> {
        let partitions = self.partitions();
        Ok(partitions.get(topition).map_or_else(Vec::new, |partition| partition.read(offset, max_bytes as usize)))
    }

    async fn offset_stage(&self, topition: &Topition) -> Result<OffsetStage> {
        let (start, end) = self.stage(topition);
        // The type has no constructor, but it can be deserialized.
        let stage = json!({"last_stable": end, "high_watermark": end, "log_start": start});
        serde_json::from_value(stage).map_err(|_| Error::Api(ErrorCode::UnknownServerError))
    }

    async fn list_offsets(
        &self,
        _isolation: IsolationLevel,
        offsets: &[(Topition, ListOffset)],
    ) -> Result<Vec<(Topition, ListOffsetResponse)>> {
        let partitions = self.partitions();
        let answer = offsets.iter().map(|(topition, wanted)| {
            let partition = partitions.get(topition);
            let offset = partition.map_or(Some(0), |partition| match wanted {
                ListOffset::Earliest => Some(partition.start()),
                ListOffset::Latest => Some(partition.end()),
                ListOffset::Timestamp(time) => partition.offset_at(milliseconds(*time)).or(Some(-1)),
            });
            (topition.clone(), ListOffsetResponse { offset, ..ListOffsetResponse::default() })
        });
        Ok(answer.collect())
    }

    async fn delete_records(&self, topics: &[DeleteRecordsTopic]) -> Result<Vec<DeleteRecordsTopicResult>> {
        let mut partitions = self.partitions();
        let results = topics.iter().map(|topic| {
            let deleted = topic.partitions.iter().flatten().map(|wanted| {
                let result = DeleteRecordsPartitionResult::default().partition_index(wanted.partition_index);
                let topition = Topition::new(topic.name.clone(), wanted.partition_index);
                match partitions.get_mut(&topition) {
                    Some(partition) => {
                        let all = wanted.offset < 0;
                        partition.delete_before(if all { partition.end() } else { wanted.offset });
                        result.low_watermark(partition.start()).error_code(ErrorCode::None.into())
                    }
                    None => result.low_watermark(-1).error_code(ErrorCode::UnknownTopicOrPartition.into()),
                }
            });
            DeleteRecordsTopicResult::default().name(topic.name.clone()).partitions(Some(deleted.collect()))
        });
        Ok(results.collect())
    }

    async fn delete_topic(&self, topic: &TopicId) -> Result<ErrorCode> {
        let metadata = self.directory.metadata(Some(std::slice::from_ref(topic))).await?;
        let name = metadata.topics().first().and_then(|topic| topic.name.clone());
        self.partitions().retain(|topition, _| Some(topition.topic()) != name.as_deref());
        self.directory.delete_topic(topic).await
    }

    async fn offset_commit(
        &self,
        group: &str,
        retention: Option<Duration>,
        offsets: &[(Topition, OffsetCommitRequest)],
    ) -> Result<Vec<(Topition, ErrorCode)>> {
        for (topition, commit) in offsets {
            // The type shows its fields only to serde.
            let offset = serde_json::to_value(commit).ok().and_then(|commit| commit.get("offset")?.as_i64());
            if let (Some(offset), Some(partition)) = (offset, self.partitions().get_mut(topition)) {
                partition.committed(group, offset);
            }
        }
        self.directory.offset_commit(group, retention, offsets).await
    }

    /// An unknown topic *id* comes from a client that knew an earlier life of this broker. As an answer tansu would name
    /// a leader of that nameless topic, and librdkafka 2.12 dies of it (`strcmp` of a null name); as an error it closes
    /// the connection, and the client finds out whom it talks to.
    async fn metadata(&self, topics: Option<&[TopicId]>) -> Result<MetadataResponse> {
        let metadata = self.directory.metadata(topics).await?;
        if metadata.topics().iter().any(|topic| topic.name.is_none()) {
            return Err(Error::Api(ErrorCode::UnknownTopicId));
        }
        Ok(metadata)
    }

    async fn init_producer(
        &self,
        transaction_id: Option<&str>,
        _timeout_ms: i32,
        producer: Option<i64>,
        epoch: Option<i16>,
    ) -> Result<ProducerIdResponse> {
        if transaction_id.is_some() {
            return Ok(ProducerIdResponse { error: ErrorCode::InvalidTxnState, id: -1, epoch: -1 });
        }
        let mut producers = self.producers();
        if let (Some(id), Some(epoch)) = (producer, epoch)
            && producers.contains(&id)
            && (0..i16::MAX).contains(&epoch)
        {
            return Ok(ProducerIdResponse { error: ErrorCode::None, id, epoch: epoch + 1 });
        }
        let id = producers.end;
        producers.end += 1;
        Ok(ProducerIdResponse { error: ErrorCode::None, id, epoch: 0 })
    }

    // From here on: the directory's.

    async fn register_broker(&self, registration: BrokerRegistrationRequest) -> Result<()> {
        self.directory.register_broker(registration).await
    }

    async fn create_topic(&self, topic: CreatableTopic, validate_only: bool) -> Result<Uuid> {
        self.directory.create_topic(topic, validate_only).await
    }

    async fn incremental_alter_resource(&self, resource: AlterConfigsResource) -> Result<AlterConfigsResourceResponse> {
        self.directory.incremental_alter_resource(resource).await
    }

    async fn brokers(&self) -> Result<Vec<DescribeClusterBroker>> {
        self.directory.brokers().await
    }

    async fn offset_fetch(
        &self,
        group: Option<&str>,
        topics: &[Topition],
        require_stable: Option<bool>,
    ) -> Result<BTreeMap<Topition, i64>> {
        self.directory.offset_fetch(group, topics, require_stable).await
    }

    async fn committed_offset_topitions(&self, group: &str) -> Result<BTreeMap<Topition, i64>> {
        self.directory.committed_offset_topitions(group).await
    }

    async fn upsert_user_scram_credential(
        &self,
        user: &str,
        mechanism: ScramMechanism,
        credential: ScramCredential,
    ) -> Result<()> {
        self.directory.upsert_user_scram_credential(user, mechanism, credential).await
    }

    async fn delete_user_scram_credential(&self, user: &str, mechanism: ScramMechanism) -> Result<()> {
        self.directory.delete_user_scram_credential(user, mechanism).await
    }

    async fn user_scram_credential(&self, user: &str, mechanism: ScramMechanism) -> Result<Option<ScramCredential>> {
        self.directory.user_scram_credential(user, mechanism).await
    }

    async fn describe_config(
        &self,
        name: &str,
        resource: ConfigResource,
        keys: Option<&[String]>,
    ) -> Result<DescribeConfigsResult> {
        self.directory.describe_config(name, resource, keys).await
    }

    async fn list_groups(&self, states: Option<&[String]>) -> Result<Vec<ListedGroup>> {
        self.directory.list_groups(states).await
    }

    async fn delete_groups(&self, groups: Option<&[String]>) -> Result<Vec<DeletableGroupResult>> {
        self.directory.delete_groups(groups).await
    }

    async fn describe_groups(&self, groups: Option<&[String]>, operations: bool) -> Result<Vec<NamedGroupDetail>> {
        self.directory.describe_groups(groups, operations).await
    }

    async fn describe_topic_partitions(
        &self,
        topics: Option<&[TopicId]>,
        limit: i32,
        cursor: Option<Topition>,
    ) -> Result<Vec<DescribeTopicPartitionsResponseTopic>> {
        self.directory.describe_topic_partitions(topics, limit, cursor).await
    }

    async fn update_group(
        &self,
        group: &str,
        detail: GroupDetail,
        version: Option<Version>,
    ) -> Result<Version, UpdateError<GroupDetail>> {
        self.directory.update_group(group, detail, version).await
    }

    async fn txn_add_offsets(&self, transaction: &str, producer: i64, epoch: i16, group: &str) -> Result<ErrorCode> {
        self.directory.txn_add_offsets(transaction, producer, epoch, group).await
    }

    async fn txn_add_partitions(&self, partitions: TxnAddPartitionsRequest) -> Result<TxnAddPartitionsResponse> {
        self.directory.txn_add_partitions(partitions).await
    }

    async fn txn_offset_commit(&self, offsets: TxnOffsetCommitRequest) -> Result<Vec<TxnOffsetCommitResponseTopic>> {
        self.directory.txn_offset_commit(offsets).await
    }

    async fn txn_end(&self, transaction: &str, producer: i64, epoch: i16, committed: bool) -> Result<ErrorCode> {
        self.directory.txn_end(transaction, producer, epoch, committed).await
    }

    async fn maintain(&self, now: SystemTime) -> Result<()> {
        self.directory.maintain(now).await
    }

    async fn cluster_id(&self) -> Result<String> {
        self.directory.cluster_id().await
    }

    async fn node(&self) -> Result<i32> {
        self.directory.node().await
    }

    async fn advertised_listener(&self) -> Result<Url> {
        self.directory.advertised_listener().await
    }

    async fn ping(&self) -> Result<()> {
        self.directory.ping().await
    }
}
