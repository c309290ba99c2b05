//! The control interface of a running `up`: HTTP over a Unix socket in its data folder, for whoever may write there.
//!
//! `GET /parts`, `GET`, `POST /faults`, `DELETE /faults/{name}`, `GET`, `POST /deploys`, `GET /deploys/{id}`,
//! `POST /deploys/{part}/rollback`. An answer that says no is `{"error": "a sentence with the next step"}`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path as Named, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::deploy::{self, Deploys};
use super::faults::{self, FAULTS, Faults};
use super::stack::Stack;

/// An order is a few names and numbers.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Where it is, below the data folder.
pub(crate) fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("run/control.sock")
}

/// What can be done to the running parts, and the door to it.
pub(crate) struct Operations {
    doors: Doors,
    path: PathBuf,
    stop: CancellationToken,
}

#[derive(Clone)]
struct Doors {
    stack: Arc<Stack>,
    deploys: Arc<Deploys>,
    faults: Arc<Faults>,
}

impl Operations {
    pub(crate) fn open(stack: Arc<Stack>) -> anyhow::Result<Operations> {
        let deploys = Deploys::new(stack.clone())?;
        let doors = Doors { faults: Faults::new(stack.clone(), deploys.clone()), deploys, stack };
        let path = socket(&doors.stack.args.data_dir());
        let listener = listen(&path)?;
        let stop = CancellationToken::new();
        let serving =
            axum::serve(listener, router(doors.clone())).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::spawn(serving.into_future());
        Ok(Operations { doors, path, stop })
    }

    /// Lets nobody in any more, and ends what was begun: faults are undone, deploys are left in one piece.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        let _ = std::fs::remove_file(&self.path);
        self.doors.deploys.close().await;
        self.doors.faults.close().await;
    }
}

/// For the owner alone, from the first moment on; one that a killed `up` left behind is replaced.
fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    let unready = path.with_extension("new");
    let _ = std::fs::remove_file(&unready);
    let listener = UnixListener::bind(&unready)
        .with_context(|| format!("could not make the socket {}; a shorter --data-dir may help", path.display()))?;
    std::fs::set_permissions(&unready, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&unready, path)?;
    Ok(listener)
}

fn router(doors: Doors) -> Router {
    Router::new()
        .route("/parts", get(parts))
        .route("/faults", get(list_faults).post(start_fault))
        .route("/faults/{name}", delete(end_fault))
        .route("/deploys", get(list_deploys).post(start_deploy))
        .route("/deploys/{key}", get(one_deploy))
        .route("/deploys/{key}/rollback", post(roll_back))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(doors)
}

async fn parts(State(doors): State<Doors>) -> Response {
    Json(doors.stack.shown()).into_response()
}

async fn list_faults(State(doors): State<Doors>) -> Response {
    Json(json!({"active": doors.faults.shown(), "known": FAULTS})).into_response()
}

async fn start_fault(State(doors): State<Doors>, order: Result<Json<faults::Order>, JsonRejection>) -> Response {
    match order {
        Ok(Json(order)) => {
            // Whoever asked may go away: what was begun is finished all the same.
            let started = tokio::spawn(async move { doors.faults.start(order).await });
            answer(StatusCode::CREATED, started.await.unwrap_or_else(|panicked| Err(panicked.into())))
        }
        Err(rejection) => refused(rejection.status(), rejection.body_text()),
    }
}

#[derive(Deserialize)]
struct Target {
    target: Option<String>,
}

async fn end_fault(State(doors): State<Doors>, Named(name): Named<String>, Query(at): Query<Target>) -> Response {
    answer(StatusCode::OK, doors.faults.end(&name, at.target.as_deref()).await.map(|()| json!({})))
}

async fn list_deploys(State(doors): State<Doors>) -> Response {
    Json(doors.deploys.all()).into_response()
}

async fn one_deploy(State(doors): State<Doors>, Named(id): Named<u64>) -> Response {
    match doors.deploys.one(id) {
        Some(deploy) => Json(deploy).into_response(),
        None => refused(StatusCode::NOT_FOUND, format!("there is no deploy {id}")),
    }
}

async fn start_deploy(State(doors): State<Doors>, order: Result<Json<deploy::Order>, JsonRejection>) -> Response {
    match order {
        Ok(Json(order)) => answer(StatusCode::ACCEPTED, doors.deploys.begin(order)),
        Err(rejection) => refused(rejection.status(), rejection.body_text()),
    }
}

async fn roll_back(State(doors): State<Doors>, Named(part): Named<String>) -> Response {
    answer(StatusCode::ACCEPTED, doors.deploys.roll_back(&part))
}

fn answer(status: StatusCode, outcome: anyhow::Result<impl Serialize>) -> Response {
    match outcome {
        Ok(body) => (status, Json(body)).into_response(),
        Err(error) => refused(StatusCode::CONFLICT, format!("{error:#}")),
    }
}

fn refused(status: StatusCode, why: String) -> Response {
    (status, Json(json!({"error": why}))).into_response()
}
