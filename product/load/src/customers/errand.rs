//! One request of one customer over HTTP: sent, answered, entered in the ledger, told to the population.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use observe::http::{Client, Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument, Span, info, info_span, warn};
use uuid::Uuid;

use super::ledger::{Entry, Ledger};
use super::plan::{Purchase, Step};
use super::population::{Errand, Intent, Population, Token};
use super::statistics::Statistics;
use super::{PATIENCE, locked};

/// Waits before a payment or refund without a usable answer is asked for again. A customer does not know whether
/// the money moved, so asks with the same key; after these attempts the question stays open and counts as failed.
const WAITS_BEFORE_ASKING_AGAIN: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

pub(super) struct Errands {
    client: Client,
    target: String,
    population: Mutex<Population>,
    ledger: Ledger,
    statistics: Arc<Statistics>,
    stop: CancellationToken,
}

/// Why a request counts as failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer")]
    Exchange(#[from] observe::http::Error),
    #[error("answered {0}")]
    Refused(StatusCode),
    #[error("could not write the ledger")]
    Ledger(#[from] io::Error),
}

impl Failure {
    /// Whether the same request may get another answer a little later.
    fn is_passing(&self) -> bool {
        match self {
            Failure::Exchange(_) => true,
            // 409: an earlier attempt with this key is still under way.
            Failure::Refused(status) => {
                status.is_server_error() || matches!(*status, StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS)
            }
            Failure::Ledger(_) => false,
        }
    }
}

#[derive(Deserialize)]
struct User {
    user_id: String,
}

/// No `Debug`: it holds the token.
#[derive(Deserialize)]
struct Login {
    token: String,
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
        population: Population,
        ledger: Ledger,
        statistics: Arc<Statistics>,
        stop: CancellationToken,
    ) -> Errands {
        Errands {
            client: Client::new(PATIENCE),
            target: target.trim_end_matches('/').to_owned(),
            population: Mutex::new(population),
            ledger,
            statistics,
            stop,
        }
    }

    /// Whether somebody could sign in now.
    pub(super) fn knows_somebody(&self) -> bool {
        locked(&self.population).somebody_is_out()
    }

    /// Makes the request of `step` and counts it; its latency runs from `intended`.
    pub(super) async fn run(&self, step: Step, intended: Instant) {
        let begun = locked(&self.population).begin(&step);
        let Some(intent) = begun else {
            self.statistics.skipped(step.endpoint);
            return;
        };
        let endpoint = intent.errand.endpoint();
        self.statistics.sent(endpoint);
        let done = self.perform(&intent, step.purchase).await;
        let latency = intended.elapsed();
        locked(&self.population).end(intent.customer);
        match done {
            Ok(()) => self.statistics.acknowledged(endpoint, latency),
            Err(failure) => {
                self.statistics.failed(endpoint, latency);
                let name = endpoint.name();
                warn!(endpoint = name, error = %failure, "{name} failed: {failure}");
            }
        }
    }

    async fn perform(&self, intent: &Intent, purchase: Purchase) -> Result<(), Failure> {
        match &intent.errand {
            Errand::Register => self.register(intent).await,
            Errand::LogIn => self.log_in(intent).await,
            Errand::LogOut(token) => self.log_out(intent, token).await,
            Errand::Session(token) => {
                let user: User = self.ask(intent, token, self.get("/v1/session")).await?.json().await?;
                locked(&self.population).is_known_as(intent.customer, user.user_id);
                Ok(())
            }
            Errand::ReadProfile(token) => self.ask(intent, token, self.get("/v1/profile")).await.map(drop),
            Errand::WriteProfile(token) => self.write_profile(intent, token, purchase).await,
            Errand::Pay(token) => {
                let span = info_span!("pay", payment.id = Empty, payment.status = Empty);
                self.pay(intent, token, purchase).instrument(span).await
            }
            Errand::ReadPayment(token, id) => {
                self.ask(intent, token, self.get(&format!("/v1/payments/{id}"))).await.map(drop)
            }
            Errand::ListPayments(token) => self.ask(intent, token, self.get("/v1/payments?limit=20")).await.map(drop),
            Errand::Refund(token, id) => {
                let span = info_span!("ask for refund", payment.id = id);
                self.refund(intent, token, id).instrument(span).await
            }
        }
    }

    async fn register(&self, intent: &Intent) -> Result<(), Failure> {
        let name = intent.name;
        let form = json!({"email": name.email(), "password": name.password(), "display_name": name.display_name()});
        let registered = async {
            match accept(self.post("/v1/register").json(&form).send().await?) {
                Ok(answer) => Ok(Some(answer.json::<User>().await?.user_id)),
                // An earlier attempt succeeded and its answer was lost: the customer is a customer.
                Err(Failure::Refused(StatusCode::CONFLICT)) => Ok(None),
                Err(failure) => Err(failure),
            }
        };
        match registered.await {
            Ok(user_id) => {
                let noted = user_id.as_deref().map_or(Ok(()), |id| self.note(intent, "user.registered", id));
                locked(&self.population).registered(intent.customer, user_id);
                Ok(noted?)
            }
            Err(failure) => {
                locked(&self.population).not_registered(intent.customer);
                Err(failure)
            }
        }
    }

    async fn log_in(&self, intent: &Intent) -> Result<(), Failure> {
        let form = json!({"email": intent.name.email(), "password": intent.name.password()});
        let token =
            async { Ok(accept(self.post("/v1/login").json(&form).send().await?)?.json::<Login>().await?.token) };
        match token.await {
            Ok(token) => {
                let noted = self.note_user(intent, "user.logged_in");
                locked(&self.population).signed_in(intent.customer, Token::new(&token));
                Ok(noted?)
            }
            Err(failure) => {
                locked(&self.population).signed_out(intent.customer);
                Err(failure)
            }
        }
    }

    async fn log_out(&self, intent: &Intent, token: &Token) -> Result<(), Failure> {
        let answer = self.post("/v1/logout").bearer(token.reveal()).send().await;
        // Answered or not, the customer has thrown the token away.
        locked(&self.population).signed_out(intent.customer);
        accept(answer?).map(drop)
    }

    async fn write_profile(&self, intent: &Intent, token: &Token, purchase: Purchase) -> Result<(), Failure> {
        let bio = format!("Last bought: {}.", purchase.description);
        let profile = json!({"display_name": intent.name.display_name(), "bio": bio});
        self.ask(intent, token, self.request(Method::PUT, "/v1/profile").json(&profile)).await?;
        Ok(self.note_user(intent, "profile.updated")?)
    }

    async fn pay(&self, intent: &Intent, token: &Token, purchase: Purchase) -> Result<(), Failure> {
        // Not from the seed: a second run of the same plan on the same data means new payments.
        let key = Uuid::now_v7().to_string();
        let order = json!({
            "amount_minor": purchase.amount_minor,
            "currency": purchase.currency,
            "description": purchase.description,
            "card_token": purchase.card_token,
        });
        let payment: Payment = self
            .ask_until_settled(intent, token, || self.post("/v1/payments").header("idempotency-key", &key).json(&order))
            .await?;
        let (id, status) = (&payment.id, &payment.status);
        let span = Span::current();
        span.record("payment.id", id).record("payment.status", status);
        self.note_payment(intent, &payment)?;
        locked(&self.population).bought(intent.customer, id.clone(), status == "captured");
        info!(payment.id = id, payment.status = status, "payment {id} was {status}");
        Ok(())
    }

    async fn refund(&self, intent: &Intent, token: &Token, id: &str) -> Result<(), Failure> {
        let path = format!("/v1/payments/{id}/refund");
        let refunded: Result<Payment, Failure> = self.ask_until_settled(intent, token, || self.post(&path)).await;
        locked(&self.population).settle_refund(intent.customer, id, refunded.is_ok());
        self.note_payment(intent, &refunded?)?;
        info!(payment.id = id, payment.status = "refunded", "payment {id} was refunded");
        Ok(())
    }

    /// One request of somebody who is signed in. Who is told to sign in does so before the next.
    async fn ask(&self, intent: &Intent, token: &Token, request: Request) -> Result<Response, Failure> {
        let answer = accept(request.bearer(token.reveal()).send().await?);
        if let Err(Failure::Refused(StatusCode::UNAUTHORIZED)) = answer {
            locked(&self.population).refused(intent.customer, token);
        }
        answer
    }

    /// The same request until it is answered for good, the attempts are used up, or the run ends.
    async fn ask_until_settled<T: serde::de::DeserializeOwned>(
        &self,
        intent: &Intent,
        token: &Token,
        request: impl Fn() -> Request,
    ) -> Result<T, Failure> {
        let attempt = || async { Ok(self.ask(intent, token, request()).await?.json().await?) };
        let mut answer: Result<T, Failure> = attempt().await;
        for wait in WAITS_BEFORE_ASKING_AGAIN {
            match &answer {
                Err(failure) if failure.is_passing() => {}
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

    fn note_payment(&self, intent: &Intent, payment: &Payment) -> io::Result<()> {
        self.ledger.append(&Entry {
            intent: format!("payment.{}", payment.status),
            id: payment.id.clone(),
            amount_minor: Some(payment.amount_minor),
            currency: Some(payment.currency.clone()),
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

fn accept(answer: Response) -> Result<Response, Failure> {
    match answer.status() {
        status if status.is_success() => Ok(answer),
        status => Err(Failure::Refused(status)),
    }
}
