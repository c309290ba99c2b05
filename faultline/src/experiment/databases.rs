//! The databases of the stack: SQLite files of its own folder, or fresh databases on a PostgreSQL server, dropped afterwards.

use anyhow::{Context, bail};
use sqlx::{Connection, PgConnection};

/// One for each service, as each owns its data.
const SERVICES: [&str; 3] = ["core", "jobs", "analytics"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Databases {
    Sqlite,
    /// Address of the server, e.g. `postgres://postgres@127.0.0.1:5433/postgres`; the databases are named after the process.
    Postgres(String),
}

impl std::str::FromStr for Databases {
    type Err = String;

    fn from_str(text: &str) -> Result<Databases, String> {
        match text {
            "sqlite" => Ok(Databases::Sqlite),
            url if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                // Its process is found by its port, to be pinned and measured.
                let databases = Databases::Postgres(url.to_owned());
                databases.port().map(|_| databases).ok_or(format!("{url:?} names no host and port"))
            }
            _ => Err(format!("{text:?} is neither sqlite nor postgres://user@host:port/database")),
        }
    }
}

impl Databases {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Databases::Sqlite => "SQLite",
            Databases::Postgres(_) => "PostgreSQL",
        }
    }

    pub(crate) fn port(&self) -> Option<u16> {
        let Databases::Postgres(url) = self else { return None };
        let url: reqwest::Url = url.parse().ok()?;
        url.host_str()?;
        Some(url.port().unwrap_or(5432))
    }

    /// What the server says of itself, and that it can be written to.
    pub(crate) async fn create(&self) -> anyhow::Result<String> {
        let Databases::Postgres(url) = self else { return Ok("SQLite, files of the stack's own folder".to_owned()) };
        let mut server = connect(url).await?;
        let version: String = sqlx::query_scalar("SHOW server_version")
            .fetch_one(&mut server)
            .await
            .context("could not ask PostgreSQL")?;
        for service in SERVICES {
            drop_database(&mut server, &own(service)).await?;
            execute(&mut server, format!("CREATE DATABASE {}", own(service))).await?;
        }
        Ok(format!("PostgreSQL {version}, a database for each service"))
    }

    pub(crate) async fn remove(&self) -> anyhow::Result<()> {
        let Databases::Postgres(url) = self else { return Ok(()) };
        let mut server = connect(url).await?;
        for service in SERVICES {
            drop_database(&mut server, &own(service)).await?;
        }
        Ok(())
    }

    /// What the services are told about them. By variable, as an address may hold a password and a command line is public.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let Databases::Postgres(url) = self else { return Vec::new() };
        let of = |service: &&str| {
            let mut url: reqwest::Url = url.parse().ok()?;
            url.set_path(&own(service));
            Some((format!("FAULTLINE_{}_DATABASE_URL", service.to_uppercase()), url.to_string()))
        };
        SERVICES.iter().filter_map(of).collect()
    }
}

/// Two experiments on one server do not meet.
fn own(service: &str) -> String {
    format!("faultline_experiment_{}_{service}", std::process::id())
}

async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    PgConnection::connect(url)
        .await
        .context("could not connect to PostgreSQL; is it running, and is its address right?")
}

async fn drop_database(server: &mut PgConnection, name: &str) -> anyhow::Result<()> {
    execute(server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await
}

/// Names of databases cannot be parameters; these are ours, of letters, digits and underscores.
async fn execute(server: &mut PgConnection, statement: String) -> anyhow::Result<()> {
    if let Err(error) = sqlx::query(sqlx::AssertSqlSafe(statement.clone())).execute(server).await {
        bail!("PostgreSQL refused {statement:?}: {error}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_gets_its_own_database_of_the_server() {
        let databases: Databases = "postgres://me@127.0.0.1:5433/postgres".parse().expect("an address");
        assert_eq!(databases.port(), Some(5433));
        let variables = databases.environment();
        assert_eq!(variables.len(), 3);
        assert_eq!(variables[1].0, "FAULTLINE_JOBS_DATABASE_URL");
        assert!(variables[1].1.starts_with("postgres://me@127.0.0.1:5433/faultline_experiment_"), "{variables:?}");
        assert!(Databases::Sqlite.environment().is_empty());
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["mysql://x", "", "postgres"] {
            assert!(text.parse::<Databases>().is_err(), "{text:?}");
        }
    }
}
