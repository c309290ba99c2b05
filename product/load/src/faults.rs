//! Faults of the stubs, on a switch: slow, failing, refusing. Each ends by itself.
//!
//! `POST /internal/faults {"kind":"slow","ms":2000,"for_s":60}` starts one, or changes the one of its kind that is
//! there; `GET` lists them; `DELETE` ends them all, or those of `?target=`. Nothing but a look at the clock ends a fault
//! in time, so none outlives its term whatever becomes of who started it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::info;

use crate::answers;

/// A fault that somebody forgot ends after an hour.
const TERM_MAX_S: u64 = 3_600;
/// Longer than anybody waits for an answer.
const SLOW_MAX_MS: u64 = 60_000;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    Acquirer,
    Webhook,
    Mail,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Each answer takes so many milliseconds longer.
    Slow { ms: u64 },
    /// This share of the requests, from 0 to 1, is answered with a failure of the server.
    Failing {
        #[serde(default = "every")]
        share: f64,
    },
    /// Nobody is let in.
    Refusing,
}

fn every() -> f64 {
    1.0
}

/// How a request ended that met a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Struck {
    Failing,
    Refusing,
}

/// The faults of one process. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// What can fail here.
    targets: &'static [Target],
    active: Arc<Mutex<Vec<Active>>>,
}

#[derive(Clone, Copy, Debug)]
struct Active {
    target: Target,
    kind: Kind,
    until: Instant,
}

impl Faults {
    pub(crate) fn none(targets: &'static [Target]) -> Faults {
        Faults { targets, active: Arc::default() }
    }

    /// The switch over HTTP.
    pub(crate) fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        Router::new().route("/internal/faults", get(list).post(start).delete(end)).with_state(self.clone())
    }

    /// What a request to `target` meets now: waits out a slowness, then says whether it is to be served.
    pub(crate) async fn meet(&self, target: Target) -> Result<(), Struck> {
        if self.refuses(target) {
            return Err(Struck::Refusing);
        }
        let (mut slow, mut failing) = (Duration::ZERO, 0.0);
        for active in self.now(target) {
            match active.kind {
                Kind::Slow { ms } => slow = Duration::from_millis(ms),
                Kind::Failing { share } => failing = share,
                Kind::Refusing => {}
            }
        }
        if !slow.is_zero() {
            tokio::time::sleep(slow).await;
        }
        if rand::random_bool(failing) { Err(Struck::Failing) } else { Ok(()) }
    }

    pub(crate) fn refuses(&self, target: Target) -> bool {
        self.now(target).iter().any(|active| active.kind == Kind::Refusing)
    }

    /// Those of `target` whose term has not passed.
    fn now(&self, target: Target) -> Vec<Active> {
        self.all().into_iter().filter(|active| active.target == target).collect()
    }

    fn all(&self) -> Vec<Active> {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        active.retain(|active| active.until > now);
        active.clone()
    }

    fn start(&self, target: Target, kind: Kind, term: Duration) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        // At most one of a kind, so there are never more than kinds and targets.
        active.retain(|old| old.target != target || std::mem::discriminant(&old.kind) != std::mem::discriminant(&kind));
        active.push(Active { target, kind, until: Instant::now() + term });
    }

    fn end(&self, target: Option<Target>) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.retain(|active| target.is_some_and(|target| target != active.target));
    }
}

/// Lets a request through to `target` as far as its faults allow.
pub(crate) async fn struck(State((faults, target)): State<(Faults, Target)>, request: Request, next: Next) -> Response {
    match faults.meet(target).await {
        Ok(()) => next.run(request).await,
        Err(Struck::Failing) => answers::problem(StatusCode::INTERNAL_SERVER_ERROR, "failing, as it was told to"),
        Err(Struck::Refusing) => {
            let answer = answers::problem(StatusCode::SERVICE_UNAVAILABLE, "refusing, as it was told to");
            ([(header::RETRY_AFTER, "1")], answer).into_response()
        }
    }
}

#[derive(Deserialize)]
struct Order {
    #[serde(flatten)]
    kind: Kind,
    /// All that can fail here when it is not said.
    target: Option<Target>,
    for_s: u64,
}

async fn start(State(faults): State<Faults>, order: Result<Json<Order>, JsonRejection>) -> Response {
    let refused = |why: &str| answers::problem(StatusCode::UNPROCESSABLE_ENTITY, why);
    let Json(order) = match order {
        Ok(order) => order,
        Err(rejection) => return answers::problem(rejection.status(), &rejection.body_text()),
    };
    let sensible = match order.kind {
        Kind::Slow { ms } => (1..=SLOW_MAX_MS).contains(&ms),
        Kind::Failing { share } => (0.0..=1.0).contains(&share),
        Kind::Refusing => true,
    };
    if !sensible {
        return refused("ms is a number from 1 to 60000, share one from 0 to 1");
    }
    if !(1..=TERM_MAX_S).contains(&order.for_s) {
        return refused("for_s is a number from 1 to 3600");
    }
    if order.target.is_some_and(|target| !faults.targets.contains(&target)) {
        return refused("this process has no such target");
    }
    for &target in faults.targets.iter().filter(|target| order.target.is_none_or(|wanted| wanted == **target)) {
        faults.start(target, order.kind, Duration::from_secs(order.for_s));
        info!(fault.target = ?target, fault.kind = ?order.kind, fault.term_s = order.for_s,
            "fault at {target:?} for {} s: {:?}", order.for_s, order.kind);
    }
    list(State(faults)).await
}

/// A fault under way, as it is told.
#[derive(Serialize)]
struct Told {
    target: Target,
    #[serde(flatten)]
    kind: Kind,
    left_s: f64,
}

async fn list(State(faults): State<Faults>) -> Response {
    let now = Instant::now();
    let told = |active: Active| Told {
        target: active.target,
        kind: active.kind,
        left_s: active.until.saturating_duration_since(now).as_secs_f64(),
    };
    Json(faults.all().into_iter().map(told).collect::<Vec<_>>()).into_response()
}

#[derive(Deserialize)]
struct Which {
    target: Option<Target>,
}

async fn end(State(faults): State<Faults>, Query(which): Query<Which>) -> StatusCode {
    faults.end(which.target);
    info!("faults ended by hand");
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn faults() -> Faults {
        Faults::none(&[Target::Webhook, Target::Mail])
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_ends_by_itself() {
        let faults = faults();
        faults.start(Target::Mail, Kind::Refusing, MINUTE);
        faults.start(Target::Webhook, Kind::Failing { share: 1.0 }, MINUTE * 2);
        assert_eq!(faults.meet(Target::Mail).await, Err(Struck::Refusing));
        tokio::time::advance(MINUTE).await;
        assert_eq!(faults.meet(Target::Mail).await, Ok(()));
        assert_eq!(faults.meet(Target::Webhook).await, Err(Struck::Failing), "the other has a term of its own");
        tokio::time::advance(MINUTE).await;
        assert_eq!(faults.meet(Target::Webhook).await, Ok(()));
        assert!(faults.all().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn slow_takes_the_stated_time_longer() {
        let faults = faults();
        faults.start(Target::Mail, Kind::Slow { ms: 2_000 }, MINUTE);
        let begun = Instant::now();
        assert_eq!(faults.meet(Target::Webhook).await, Ok(()));
        assert_eq!(begun.elapsed(), Duration::ZERO, "the other target is as quick as ever");
        assert_eq!(faults.meet(Target::Mail).await, Ok(()));
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test]
    async fn of_a_kind_there_is_one_and_the_newest_counts() {
        let faults = faults();
        faults.start(Target::Mail, Kind::Failing { share: 1.0 }, MINUTE);
        faults.start(Target::Mail, Kind::Failing { share: 0.0 }, MINUTE);
        assert_eq!(faults.meet(Target::Mail).await, Ok(()));
        faults.start(Target::Mail, Kind::Refusing, MINUTE);
        faults.start(Target::Webhook, Kind::Refusing, MINUTE);
        faults.end(Some(Target::Mail));
        assert_eq!((faults.refuses(Target::Mail), faults.refuses(Target::Webhook)), (false, true));
    }

    #[tokio::test]
    async fn a_share_of_the_requests_fails() {
        let faults = faults();
        faults.start(Target::Mail, Kind::Failing { share: 0.5 }, MINUTE);
        let mut failed = 0;
        for _ in 0..1_000 {
            failed += u32::from(faults.meet(Target::Mail).await.is_err());
        }
        assert!((400..600).contains(&failed), "{failed} of 1,000"); // beyond is one chance in 10^9
    }
}
