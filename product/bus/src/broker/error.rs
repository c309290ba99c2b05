//! Kafka's error codes, those that this broker has a use for.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub(super) enum ErrorCode {
    None = 0,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    CoordinatorNotAvailable = 15,
    InvalidTopic = 17,
    InvalidRequiredAcks = 21,
    IllegalGeneration = 22,
    InconsistentGroupProtocol = 23,
    InvalidGroupId = 24,
    UnknownMemberId = 25,
    InvalidSessionTimeout = 26,
    RebalanceInProgress = 27,
    UnsupportedVersion = 35,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    UnsupportedForMessageFormat = 43,
    PolicyViolation = 44,
    OutOfOrderSequenceNumber = 45,
    DuplicateSequenceNumber = 46,
    InvalidProducerEpoch = 47,
    InvalidTxnState = 48,
    UnknownProducerId = 59,
    MemberIdRequired = 79,
    GroupMaxSizeReached = 81,
    InvalidRecord = 87,
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> Self {
        code as Self
    }
}
