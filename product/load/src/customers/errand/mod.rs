//! One request over HTTP: sent, answered, entered in the ledger, told to the population.
//!
//! `accounts` and `payments` know what is sent for what; here is what all of it has in common.

mod accounts;
mod payments;

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use observe::http::{Client, Method, Request, StatusCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument, info_span, warn};

use super::answer::{Answer, Failure};
use super::intent::{Errand, Intent, Open, Token};
use super::ledger::{Entry, Ledger};
use super::plan::{Endpoint, Purchase, Step};
use super::population::Population;
use super::samples::Settled;
use super::statistics::Statistics;
use super::{PATIENCE, locked};
use crate::Secret;

pub(super) struct Errands {
    client: Client,
    target: String,
    operator_token: Option<Secret>,
    avatar: Bytes,
    population: Mutex<Population>,
    ledger: Ledger,
    statistics: Arc<Statistics>,
    stop: CancellationToken,
}

impl Errands {
    pub(super) fn new(
        target: &str,
        operator_token: Option<Secret>,
        population: Population,
        ledger: Ledger,
        statistics: Arc<Statistics>,
        stop: CancellationToken,
    ) -> io::Result<Errands> {
        Ok(Errands {
            client: Client::new(PATIENCE),
            target: target.trim_end_matches('/').to_owned(),
            operator_token,
            avatar: super::picture::avatar()?.into(),
            population: Mutex::new(population),
            ledger,
            statistics,
            stop,
        })
    }

    /// People who are registered: those signed in, and those not.
    pub(super) fn present(&self) -> (usize, usize) {
        locked(&self.population).present()
    }

    /// Makes the request of `step` and counts it; its latency runs from `intended`.
    pub(super) async fn run(&self, step: Step, intended: Instant) {
        let late = intended.elapsed();
        let (endpoint, done) = match step.endpoint.report() {
            Some(path) => {
                self.statistics.sent(step.endpoint, late);
                (step.endpoint, self.look_at(path).await)
            }
            None => {
                let begun = locked(&self.population).begin(&step);
                let Some(intent) = begun else {
                    self.statistics.skipped(step.endpoint, intended);
                    return;
                };
                self.statistics.sent(intent.errand.endpoint(), late);
                (intent.errand.endpoint(), self.carry_out(&intent, step.purchase).await)
            }
        };
        let settled = |status| Settled { intended, late, latency: intended.elapsed(), status };
        match done {
            Ok(status) => self.statistics.acknowledged(endpoint, settled(status.as_u16())),
            Err(failure) => {
                self.statistics.failed(endpoint, settled(failure.status()));
                tell(endpoint, &failure);
            }
        }
    }

    /// Registers somebody, apart from the plan and its counts.
    pub(super) async fn found(&self) {
        let begun = locked(&self.population).begin_registering();
        self.uncounted(begun).await;
    }

    /// Signs somebody in, apart from the plan and its counts.
    pub(super) async fn open_the_door(&self) {
        let begun = locked(&self.population).begin_signing_in();
        self.uncounted(begun).await;
    }

    async fn uncounted(&self, intent: Option<Intent>) {
        let Some(intent) = intent else { return };
        if let Err(failure) = self.carry_out(&intent, Purchase::NOTHING).await {
            tell(intent.errand.endpoint(), &failure);
        }
    }

    async fn carry_out(&self, intent: &Intent, purchase: Purchase) -> Result<StatusCode, Failure> {
        let done = self.perform(intent, purchase).await;
        locked(&self.population).end(intent);
        done
    }

    async fn perform(&self, intent: &Intent, purchase: Purchase) -> Result<StatusCode, Failure> {
        match &intent.errand {
            Errand::Register => self.register(intent).await,
            Errand::LogIn => self.log_in(intent).await,
            Errand::LogOut(token) => self.log_out(intent, token).await,
            Errand::Refresh(session, refresh) => self.refresh(intent, session, refresh).await,
            Errand::Session(token) => self.session(intent, token).await,
            Errand::ReadProfile(token) => self.read(intent, token, "/v1/profile").await,
            Errand::WriteProfile(token) => self.write_profile(intent, token, purchase).await,
            Errand::ReadAvatar(token) => self.read(intent, token, "/v1/profile/avatar").await,
            Errand::WriteAvatar(token) => self.write_avatar(intent, token).await,
            Errand::Pay(token) | Errand::Authorize(token) => {
                let captures = matches!(intent.errand, Errand::Pay(_));
                let span = info_span!("pay", payment.id = Empty, payment.status = Empty);
                self.pay(intent, token, purchase, captures).instrument(span).await
            }
            Errand::ReadPayment(token, id) => self.read(intent, token, &format!("/v1/payments/{id}")).await,
            Errand::ListPayments(token) => self.read(intent, token, "/v1/payments?limit=20").await,
            Errand::Capture(token, id) => {
                let span = info_span!("ask for capture", payment.id = id);
                self.go_on_with(intent, token, id, "capture", Open::Capture).instrument(span).await
            }
            Errand::Refund(token, id) => {
                let span = info_span!("ask for refund", payment.id = id);
                self.go_on_with(intent, token, id, "refund", Open::Refund).instrument(span).await
            }
        }
    }

    /// An analyst's look at a report.
    async fn look_at(&self, path: &str) -> Result<StatusCode, Failure> {
        let request = self.get(path);
        let request = match &self.operator_token {
            Some(token) => request.bearer(token.reveal()),
            None => request,
        };
        Ok(Answer::whole(request.send().await?).await?.status)
    }

    /// One request of somebody who is signed in. Who is told to sign in comes back like everybody who is out: by the plan's logins.
    async fn ask(&self, intent: &Intent, token: &Token, request: Request) -> Result<Answer, Failure> {
        let answer = Answer::whole(request.bearer(token.reveal()).send().await?).await;
        if let Err(Failure::Refused(StatusCode::UNAUTHORIZED)) = answer {
            locked(&self.population).refused(intent.customer, token);
        }
        answer
    }

    async fn read(&self, intent: &Intent, token: &Token, path: &str) -> Result<StatusCode, Failure> {
        Ok(self.ask(intent, token, self.get(path)).await?.status)
    }

    fn note(&self, intent: &Intent, what: &str, id: &str) -> io::Result<()> {
        self.ledger.append(&Entry {
            intent: what.to_owned(),
            id: id.to_owned(),
            amount_minor: None,
            currency: None,
            seed: intent.name.seed,
            customer: intent.name.customer,
        })
    }

    fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    fn request(&self, method: Method, path: &str) -> Request {
        self.client.request(method, format!("{}{path}", self.target))
    }
}

fn tell(endpoint: Endpoint, failure: &Failure) {
    let name = endpoint.name();
    warn!(endpoint = name, exception.message = %failure, "{name} failed: {failure}");
}
