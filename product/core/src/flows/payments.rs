//! Create, read, list, capture and refund payments.
//!
//! The acquirer is asked between two transactions, never inside one. The first says what we are about to ask, the
//! second what came of it together with the event. Whatever dies in between, the row says where to resume, and the
//! acquirer decides once on each payment id: no money moves twice and none is forgotten.

use jiff::Timestamp;
use sqlx::{Any, AnyConnection, Transaction};
use tracing::{Span, error, field, info, instrument, warn};
use uuid::Uuid;

use super::{Core, Error};
use crate::acquirer::AcquirerError;
use crate::domain::audit::{self, Entry, Kind};
use crate::domain::idempotency::{self, Key, Known};
use crate::domain::input::{CardToken, Money};
use crate::domain::ledger::{self, Movement};
use crate::domain::payments::{self, Payment, Status};
use crate::domain::{events, now};

/// What a customer wants to pay, and the key that makes it one payment however often it is asked for.
pub(crate) struct Order {
    pub(crate) key: Key,
    pub(crate) money: Money,
    pub(crate) description: String,
    pub(crate) card: CardToken,
    /// Charge at once; otherwise the bank only holds the money until it is captured.
    pub(crate) capture: bool,
}

/// The answer as it is stored, in JSON.
pub(crate) struct Answer {
    pub(crate) json: String,
    /// An earlier request got it first.
    pub(crate) replayed: bool,
}

pub(crate) struct Page {
    pub(crate) payments: Vec<Payment>,
    /// Where the next page starts; none on the last.
    pub(crate) next: Option<Uuid>,
}

#[instrument(name = "create payment", skip_all, fields(user.id = %order.key.user_id, payment.id = field::Empty))]
pub(crate) async fn create(core: &Core, order: Order) -> Result<Answer, Error> {
    let core_of_task = core.clone();
    core.to_the_end(async move {
        match claim(&core_of_task, &order).await? {
            Claim::Answered(answer) => Ok(answer),
            Claim::Ours(payment) => charge(&core_of_task, &order, payment).await,
        }
    })
    .await
}

#[instrument(name = "read payment", skip_all, fields(user.id = %user_id, payment.id = %payment_id))]
pub(crate) async fn find(core: &Core, user_id: Uuid, payment_id: Uuid) -> Result<Payment, Error> {
    let mut connection = core.database.read().await?;
    let payment = payments::find(&mut connection, user_id, payment_id).await?;
    payment.ok_or(Error::PaymentMissing)
}

#[instrument(name = "list payments", skip_all, fields(user.id = %user_id))]
pub(crate) async fn list(core: &Core, user_id: Uuid, before: Option<Uuid>, limit: u32) -> Result<Page, Error> {
    let mut connection = core.database.read().await?;
    // One more than asked for tells whether there is a next page.
    let mut payments = payments::list(&mut connection, user_id, before, limit.saturating_add(1)).await?;
    let more = payments.len() > limit as usize;
    payments.truncate(limit as usize);
    let next = payments.last().filter(|_| more).map(|payment| payment.id);
    Ok(Page { payments, next })
}

/// What the owner of a payment can have done to it later, each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Capture,
    Refund,
}

impl Wish {
    /// In words.
    pub(crate) fn done(self) -> &'static str {
        match self {
            Wish::Capture => "captured",
            Wish::Refund => "refunded",
        }
    }

    /// Before, while the acquirer is asked, after.
    fn path(self) -> [Status; 3] {
        match self {
            Wish::Capture => [Status::Authorized, Status::Capturing, Status::Captured],
            Wish::Refund => [Status::Captured, Status::Refunding, Status::Refunded],
        }
    }
}

/// Captures or refunds. A payment that has it behind it is answered as it is: asking twice moves money once.
#[instrument(name = "change payment", skip_all, fields(wish = ?wish, user.id = %user_id, payment.id = %payment_id))]
pub(crate) async fn change(core: &Core, user_id: Uuid, payment_id: Uuid, wish: Wish) -> Result<Payment, Error> {
    let core_of_task = core.clone();
    core.to_the_end(async move {
        let core = &core_of_task;
        let payment = begin_change(core, user_id, payment_id, wish).await?;
        let [_, _, done] = wish.path();
        if payment.status == done {
            return Ok(payment);
        }
        let answer = match wish {
            Wish::Capture => core.acquirer.capture(&payment).await,
            Wish::Refund => core.acquirer.refund(&payment).await,
        };
        answer.map_err(|error| unanswered(&payment, error))?;
        finish_change(core, payment, wish).await
    })
    .await
}

enum Claim {
    Answered(Answer),
    Ours(Payment),
}

/// Finds out whether this request is the one that does the work.
async fn claim(core: &Core, order: &Order) -> Result<Claim, Error> {
    let now = now();
    let user_id = order.key.user_id;
    let mut transaction = core.database.begin().await?;
    let claim = match idempotency::claim(&mut transaction, &order.key, now, core.lease).await? {
        Known::OtherRequest => return Err(Error::KeyReused),
        Known::InFlight => return Err(Error::KeyInFlight),
        Known::Answered { payment_id, response } => {
            Span::current().record("payment.id", field::display(payment_id));
            return Ok(Claim::Answered(Answer { json: response, replayed: true }));
        }
        Known::Unfinished { payment_id } => {
            let payment = payments::find(&mut transaction, user_id, payment_id).await?;
            let payment = payment.ok_or(Error::PaymentMissing)?;
            warn!(payment.id = %payment_id, "payment {payment_id} was left without an answer, resuming");
            Claim::Ours(payment)
        }
        Known::Nothing => {
            let payment = payments::open(&mut transaction, user_id, order.money, &order.description, now).await?;
            if !idempotency::remember(&mut transaction, &order.key, payment.id, now, core.lease).await? {
                return Err(Error::KeyInFlight);
            }
            Claim::Ours(payment)
        }
    };
    core.database.commit(transaction).await?;
    if let Claim::Ours(payment) = &claim {
        Span::current().record("payment.id", field::display(payment.id));
    }
    Ok(claim)
}

async fn charge(core: &Core, order: &Order, payment: Payment) -> Result<Answer, Error> {
    let charged = async {
        let decision = core.acquirer.charge(&payment, &order.card, order.capture).await;
        let decision = decision.map_err(|error| unanswered(&payment, error))?;
        settle(core, &order.key, payment, decision).await
    };
    let answer = charged.await;
    if answer.is_err() {
        release(core, &order.key).await;
    }
    answer
}

/// The decision, the stored answer and the event: all three or none.
async fn settle(core: &Core, key: &Key, mut payment: Payment, decision: Status) -> Result<Answer, Error> {
    let now = now();
    let mut transaction = core.database.begin().await?;
    if !payments::advance(&mut transaction, &mut payment, Status::Pending, decision, now).await? {
        return settled_by_another(&mut transaction, key).await;
    }
    let json = serde_json::to_string(&payment).map_err(|error| Error::Internal(error.into()))?;
    idempotency::answer(&mut transaction, key, &json).await?;
    commit(core, transaction, &payment, now).await?;

    core.metrics.payment_decided(&payment);
    info!(payment.id = %payment.id, user.id = %payment.user_id, payment.status = payment.status.as_str(),
        "payment {} is {}", payment.id, payment.status);
    Ok(Answer { json, replayed: false })
}

/// We took longer than our lease and another request finished. The acquirer told both the same.
async fn settled_by_another(connection: &mut AnyConnection, key: &Key) -> Result<Answer, Error> {
    match idempotency::claim(connection, key, now(), std::time::Duration::ZERO).await? {
        Known::Answered { response, .. } => Ok(Answer { json: response, replayed: true }),
        _ => Err(Error::KeyInFlight),
    }
}

/// Lets the client try again at once. If even that fails, the lease runs out by itself.
async fn release(core: &Core, key: &Key) {
    let released = async {
        let mut transaction = core.database.begin().await?;
        idempotency::release(&mut transaction, key).await?;
        core.database.commit(transaction).await
    };
    if let Err(error) = released.await {
        error!(exception.message = %error,
            "could not release an Idempotency-Key, it stays locked until its lease ends");
    }
}

async fn begin_change(core: &Core, user_id: Uuid, payment_id: Uuid, wish: Wish) -> Result<Payment, Error> {
    let [before, asking, done] = wish.path();
    let mut transaction = core.database.begin().await?;
    let payment = payments::find(&mut transaction, user_id, payment_id).await?;
    let mut payment = payment.ok_or(Error::PaymentMissing)?;
    if payment.status == before {
        payments::advance(&mut transaction, &mut payment, before, asking, now()).await?;
        core.database.commit(transaction).await?;
    }
    // An earlier attempt got no answer, or is under way: the acquirer decides once either way.
    if payment.status == asking || payment.status == done {
        return Ok(payment);
    }
    Err(Error::WrongStatus { status: payment.status, wish })
}

async fn finish_change(core: &Core, mut payment: Payment, wish: Wish) -> Result<Payment, Error> {
    let [_, asking, done] = wish.path();
    let mut transaction = core.database.begin().await?;
    let now = now();
    if !payments::advance(&mut transaction, &mut payment, asking, done, now).await? {
        return find(core, payment.user_id, payment.id).await; // as another attempt left it
    }
    commit(core, transaction, &payment, now).await?;

    core.metrics.payment_changed(&payment);
    info!(payment.id = %payment.id, user.id = %payment.user_id, payment.status = payment.status.as_str(),
        "payment {} is {}", payment.id, payment.status);
    Ok(payment)
}

/// Commits a status that stays with what goes with it: the books, the log of who did what, the event.
async fn commit(
    core: &Core,
    mut transaction: Transaction<'static, Any>,
    payment: &Payment,
    now: Timestamp,
) -> Result<(), Error> {
    let (kind, movement) = match payment.status {
        Status::Authorized => (Kind::PaymentAuthorized, None),
        Status::Captured => (Kind::PaymentCaptured, Some(Movement::Capture)),
        Status::Declined => (Kind::PaymentDeclined, None),
        Status::Refunded => (Kind::PaymentRefunded, Some(Movement::Refund)),
        Status::Pending | Status::Capturing | Status::Refunding => {
            return Ok(core.database.commit(transaction).await?);
        }
    };
    if let Some(movement) = movement {
        ledger::book(&mut transaction, payment, movement, now).await?;
    }
    let entry = Entry { detail: Some(payment.id), ..Entry::new(kind, payment.user_id, now) };
    let Some(event) = events::payment(payment, now) else {
        audit::note(&mut transaction, entry).await?;
        return Ok(core.database.commit(transaction).await?);
    };
    audit::note(&mut transaction, Entry { id: event.id, ..entry }).await?;
    let told = core.tell(&mut transaction, events::PAYMENTS, payment.user_id, event).await?;
    Ok(core.commit(transaction, told).await?)
}

fn unanswered(payment: &Payment, error: AcquirerError) -> Error {
    warn!(payment.id = %payment.id, payment.status = payment.status.as_str(), exception.message = ?error,
        "the acquirer gave no usable answer on payment {}", payment.id);
    Error::Acquirer(error)
}
