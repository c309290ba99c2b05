//! Coming, going, and what customers say of themselves.

use std::io;

use observe::http::{Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::Errands;
use crate::customers::answer::{Answer, Failure};
use crate::customers::intent::{Intent, Session, Token};
use crate::customers::locked;
use crate::customers::plan::Purchase;

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

impl Errands {
    pub(super) async fn register(&self, intent: &Intent) -> Result<StatusCode, Failure> {
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

    pub(super) async fn log_in(&self, intent: &Intent) -> Result<StatusCode, Failure> {
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

    pub(super) async fn log_out(&self, intent: &Intent, token: &Token) -> Result<StatusCode, Failure> {
        let answer = self.post("/v1/logout").bearer(token.reveal()).send().await;
        // Answered or not, the customer has thrown the token away.
        locked(&self.population).signed_out(intent.customer);
        Ok(Answer::whole(answer?).await?.status)
    }

    /// Changes the pair of tokens for a new one.
    pub(super) async fn refresh(
        &self,
        intent: &Intent,
        session: &Session,
        refresh: &Token,
    ) -> Result<StatusCode, Failure> {
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

    pub(super) async fn session(&self, intent: &Intent, token: &Token) -> Result<StatusCode, Failure> {
        let answer = self.ask(intent, token, self.get("/v1/session")).await?;
        let user: User = answer.read()?;
        locked(&self.population).is_known_as(intent.customer, user.user_id);
        Ok(answer.status)
    }

    pub(super) async fn write_profile(
        &self,
        intent: &Intent,
        token: &Token,
        purchase: Purchase,
    ) -> Result<StatusCode, Failure> {
        let bio = format!("Last bought: {}.", purchase.description);
        let profile = json!({"display_name": intent.name.display_name(), "bio": bio});
        let answer = self.ask(intent, token, self.request(Method::PUT, "/v1/profile").json(&profile)).await?;
        self.note_user(intent, "profile.updated")?;
        Ok(answer.status)
    }

    pub(super) async fn write_avatar(&self, intent: &Intent, token: &Token) -> Result<StatusCode, Failure> {
        let picture = self.request(Method::PUT, "/v1/profile/avatar").header("content-type", "image/png");
        let answer = self.ask(intent, token, picture.body(self.avatar.clone())).await?;
        locked(&self.population).has_avatar(intent.customer);
        Ok(answer.status)
    }

    /// Nothing to note while the customer's id is not known: the answer to the registration was lost.
    fn note_user(&self, intent: &Intent, what: &str) -> io::Result<()> {
        let user_id = locked(&self.population).user_id(intent.customer);
        user_id.map_or(Ok(()), |id| self.note(intent, what, &id))
    }
}
