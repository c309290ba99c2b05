//! One request over HTTP: sent, answered, entered in the ledger, told to the population.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use observe::http::{Client, Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument, Span, info, info_span, warn};
use uuid::Uuid;

use super::answer::{Answer, Failure};
use super::ledger::{Entry, Ledger};
use super::plan::{Endpoint, Purchase, Step};
use super::population::{Errand, Intent, Open, Population, Session, Token};
use super::samples::Settled;
use super::statistics::Statistics;
use super::{PATIENCE, locked};
use crate::Secret;

/// Waits before a payment, capture or refund without a usable answer is asked for again. A customer does not know
/// whether the money moved, so asks with the same key; after these attempts the question stays open and counts as failed.
const WAITS_BEFORE_ASKING_AGAIN: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

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

#[derive(Deserialize)]
struct User {
    user_id: String,
}

/// No `Debug`: it holds tokens.
#[derive(Deserialize)]
struct Pair {
    token: String,
    refresh_token: Option<String>,
}

impl Pair {
    fn session(&self) -> Session {
        Session { token: Token::new(&self.token), refresh: self.refresh_token.as_deref().map(Token::new) }
    }
}

#[derive(Deserialize)]
struct Payment {
    id: String,
    status: String,
    amount_minor: i64,
    currency: String,
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
            Errand::Session(token) => {
                let answer = self.ask(intent, token, self.get("/v1/session")).await?;
                let user: User = answer.read()?;
                locked(&self.population).is_known_as(intent.customer, user.user_id);
                Ok(answer.status)
            }
            Errand::ReadProfile(token) => self.read(intent, token, "/v1/profile").await,
            Errand::WriteProfile(token) => self.write_profile(intent, token, purchase).await,
            Errand::ReadAvatar(token) => self.read(intent, token, "/v1/profile/avatar").await,
            Errand::WriteAvatar(token) => {
                let picture = self.request(Method::PUT, "/v1/profile/avatar").header("content-type", "image/png");
                let answer = self.ask(intent, token, picture.body(self.avatar.clone())).await?;
                locked(&self.population).has_avatar(intent.customer);
                Ok(answer.status)
            }
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

    async fn register(&self, intent: &Intent) -> Result<StatusCode, Failure> {
        let name = intent.name;
        let form = json!({"email": name.email(), "password": name.password(), "display_name": name.display_name()});
        let registered = async {
            match Answer::whole(self.post("/v1/register").json(&form).send().await?).await {
                Ok(answer) => Ok((answer.status, Some(answer.read::<User>()?.user_id))),
                // An earlier attempt succeeded and its answer was lost: the customer is a customer.
                Err(Failure::Refused(status @ StatusCode::CONFLICT)) => Ok((status, None)),
                Err(failure) => Err(failure),
            }
        };
        match registered.await {
            Ok((status, user_id)) => {
                let noted = user_id.as_deref().map_or(Ok(()), |id| self.note(intent, "user.registered", id));
                locked(&self.population).registered(intent.customer, user_id);
                Ok(noted.map(|()| status)?)
            }
            Err(failure) => {
                locked(&self.population).not_registered(intent.customer);
                Err(failure)
            }
        }
    }

    async fn log_in(&self, intent: &Intent) -> Result<StatusCode, Failure> {
        let form = json!({"email": intent.name.email(), "password": intent.name.password()});
        match self.pair(self.post("/v1/login").json(&form)).await {
            Ok((status, session)) => {
                let noted = self.note_user(intent, "user.logged_in");
                locked(&self.population).signed_in(intent.customer, session);
                Ok(noted.map(|()| status)?)
            }
            Err(failure) => {
                locked(&self.population).signed_out(intent.customer);
                Err(failure)
            }
        }
    }

    async fn log_out(&self, intent: &Intent, token: &Token) -> Result<StatusCode, Failure> {
        let answer = self.post("/v1/logout").bearer(token.reveal()).send().await;
        // Answered or not, the customer has thrown the token away.
        locked(&self.population).signed_out(intent.customer);
        Ok(Answer::whole(answer?).await?.status)
    }

    /// Changes the pair of tokens for a new one.
    async fn refresh(&self, intent: &Intent, session: &Session, refresh: &Token) -> Result<StatusCode, Failure> {
        let form = json!({"refresh_token": refresh.reveal()});
        match self.pair(self.post("/v1/refresh").json(&form)).await {
            Ok((status, renewed)) => {
                locked(&self.population).signed_in(intent.customer, renewed);
                Ok(status)
            }
            Err(failure) => {
                let mut population = locked(&self.population);
                // To use the old pair after a change that may have happened looks like theft to core.
                match failure.is_refusal() && failure.status() != StatusCode::UNAUTHORIZED.as_u16() {
                    true => population.signed_in(intent.customer, session.clone()),
                    false => population.signed_out(intent.customer),
                }
                Err(failure)
            }
        }
    }

    async fn pair(&self, request: Request) -> Result<(StatusCode, Session), Failure> {
        let answer = Answer::whole(request.send().await?).await?;
        Ok((answer.status, answer.read::<Pair>()?.session()))
    }

    async fn write_profile(&self, intent: &Intent, token: &Token, purchase: Purchase) -> Result<StatusCode, Failure> {
        let bio = format!("Last bought: {}.", purchase.description);
        let profile = json!({"display_name": intent.name.display_name(), "bio": bio});
        let answer = self.ask(intent, token, self.request(Method::PUT, "/v1/profile").json(&profile)).await?;
        self.note_user(intent, "profile.updated")?;
        Ok(answer.status)
    }

    async fn pay(
        &self,
        intent: &Intent,
        token: &Token,
        purchase: Purchase,
        captures: bool,
    ) -> Result<StatusCode, Failure> {
        // Not from the seed: a second run of the same plan on the same data means new payments.
        let key = Uuid::now_v7().to_string();
        let mut order = json!({
            "amount_minor": purchase.amount_minor,
            "currency": purchase.currency,
            "description": purchase.description,
            "card_token": purchase.card_token,
        });
        if !captures {
            order["capture"] = json!(false);
        }
        let (status, payment) = self
            .ask_until_settled(intent, token, || self.post("/v1/payments").header("idempotency-key", &key).json(&order))
            .await?;
        Span::current().record("payment.id", &payment.id).record("payment.status", &payment.status);
        self.settled(intent, payment)?;
        Ok(status)
    }

    /// Captures or refunds a payment; `open` again when that failed.
    async fn go_on_with(
        &self,
        intent: &Intent,
        token: &Token,
        id: &str,
        verb: &str,
        open: Open,
    ) -> Result<StatusCode, Failure> {
        let path = format!("/v1/payments/{id}/{verb}");
        match self.ask_until_settled(intent, token, || self.post(&path)).await {
            Ok((status, payment)) => {
                self.settled(intent, payment)?;
                Ok(status)
            }
            Err(failure) => {
                locked(&self.population).has_payment(intent.customer, id.to_owned(), open);
                Err(failure)
            }
        }
    }

    /// Core has said what became of a payment.
    fn settled(&self, intent: &Intent, payment: Payment) -> io::Result<()> {
        let (id, status) = (&payment.id, &payment.status);
        self.ledger.append(&Entry {
            intent: format!("payment.{status}"),
            id: id.clone(),
            amount_minor: Some(payment.amount_minor),
            currency: Some(payment.currency),
            seed: intent.name.seed,
            customer: intent.name.customer,
        })?;
        locked(&self.population).has_payment(intent.customer, id.clone(), Open::after(status));
        info!(payment.id = id, payment.status = status, "payment {id} was {status}");
        Ok(())
    }

    /// One request of somebody who is signed in. Who is told to sign in does so before the next.
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

    /// The same request until it is answered for good, the attempts are used up, or the run ends.
    async fn ask_until_settled(
        &self,
        intent: &Intent,
        token: &Token,
        request: impl Fn() -> Request,
    ) -> Result<(StatusCode, Payment), Failure> {
        let attempt = async || {
            let answer = self.ask(intent, token, request()).await?;
            Ok((answer.status, answer.read()?))
        };
        let mut answer = attempt().await;
        for wait in WAITS_BEFORE_ASKING_AGAIN {
            match &answer {
                Err(failure) if Failure::is_passing(failure) => {}
                _ => break,
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
            self.statistics.sent_again(intent.errand.endpoint());
            answer = attempt().await;
        }
        answer
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

    /// Nothing to note while the customer's id is not known: the answer to the registration was lost.
    fn note_user(&self, intent: &Intent, what: &str) -> io::Result<()> {
        let user_id = locked(&self.population).user_id(intent.customer);
        user_id.map_or(Ok(()), |id| self.note(intent, what, &id))
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
    warn!(endpoint = name, error = %failure, "{name} failed: {failure}");
}
