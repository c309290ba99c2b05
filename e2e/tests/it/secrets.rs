//! Whether something was told that nobody should know: every text of every signal is read and searched.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use e2e::Query;
use serde_json::{Value, json};

/// What customers of the load generator choose for passwords begins so.
const PASSWORDS_OF_CUSTOMERS: &str = "correct-horse-";
/// A test number of Visa: it passes Luhn, like every card number.
const CARD: &str = "4111111111111111";
/// Columns of ids in hexadecimal digits, too short for a card number and sometimes all digits.
const IDS: [&str; 3] = ["trace_id", "span_id", "parent_span_id"];

/// What must not be found, by what it is.
pub(crate) struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    pub(crate) fn new(settings: &[(&'static str, &str)]) -> Secrets {
        let mut secrets: Vec<_> = settings.iter().map(|(what, text)| (*what, (*text).to_owned())).collect();
        secrets.push(("a customer's password", PASSWORDS_OF_CUSTOMERS.to_owned()));
        Secrets(secrets)
    }

    /// Does with a running core what a customer does with secrets, mistakes included, and remembers what these were.
    pub(crate) async fn use_all(&mut self, core: &str) -> anyhow::Result<()> {
        let client = reqwest::Client::new();
        let post = async |path: &str, token: &str, body: Value| {
            let request = client.post(format!("{core}{path}")).bearer_auth(token).json(&body);
            let answer = request.header("idempotency-key", CARD).send().await?;
            let (status, text) = (answer.status().as_u16(), answer.text().await?);
            anyhow::Ok((status, serde_json::from_str::<Value>(&text).unwrap_or_default()))
        };
        let (email, password, wrong) = ("secretive@example.org", "a-pass-phrase-of-mine", "a-mistyped-pass-phrase");
        let (status, _) =
            post("/v1/register", "", json!({"email": email, "password": password, "display_name": "Ada"})).await?;
        anyhow::ensure!(status == 201, "registering was answered {status}");
        let (status, _) = post("/v1/login", "", json!({"email": email, "password": wrong})).await?;
        anyhow::ensure!(status == 401, "a wrong password was answered {status}");
        let (_, first) = post("/v1/login", "", json!({"email": email, "password": password})).await?;
        let [first_access, first_refresh] = pair(&first)?;
        let (_, second) = post("/v1/refresh", "", json!({"refresh_token": first_refresh})).await?;
        let [access, refresh] = pair(&second)?;
        let order = json!({"amount_minor": 100, "currency": "EUR", "description": "shoes", "card_token": CARD});
        let (status, _) = post("/v1/payments", &access, order).await?;
        anyhow::ensure!(status == 201, "a payment was answered {status}");
        for path in ["/v1/verify", "/v1/refresh", "/v1/payments"] {
            post(path, "Bearer", json!({"token": access, "refresh_token": password, "card_token": [CARD]})).await?;
        }
        // Shown twice, it ends all sessions: something to be told, without what was shown.
        post("/v1/refresh", "", json!({"refresh_token": first_refresh})).await?;
        self.0.extend([("a password", password.to_owned()), ("a mistyped password", wrong.to_owned())]);
        self.0.extend([("an access token", first_access), ("an access token", access)]);
        self.0.extend([("a refresh token", first_refresh), ("a refresh token", refresh)]);
        Ok(())
    }

    /// Sends telemetry of a service called `planted` that tells everything, so that a search can show what it finds.
    pub(crate) async fn plant(&self, collector: &str) -> anyhow::Result<()> {
        let now = std::time::UNIX_EPOCH.elapsed()?.as_nanos().to_string();
        let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "planted"}}]});
        let card = format!("paid by {CARD}");
        // Each secret in one place, the places in turn: all signals, and what is nested in them.
        for (number, text) in self.0.iter().map(|(_, text)| text).chain([&card]).enumerate() {
            let attributes = json!([{"key": "seen", "value": {"stringValue": format!("<{text}>")}}]);
            let mut span = json!({"traceId": format!("{:032x}", number + 1), "spanId": format!("{:016x}", number + 1),
                "name": "told", "kind": 1, "startTimeUnixNano": now, "endTimeUnixNano": now});
            let mut log = json!({"timeUnixNano": now, "body": {"stringValue": "told"}});
            let mut point = json!({"timeUnixNano": now, "asDouble": 1.0});
            match number % 5 {
                0 => span["attributes"] = attributes,
                1 => span["events"] = json!([{"timeUnixNano": now, "name": "told", "attributes": attributes}]),
                2 => log["body"]["stringValue"] = json!(text),
                3 => log["attributes"] = attributes,
                _ => point["attributes"] = attributes,
            }
            let client = reqwest::Client::new();
            for (path, body) in [
                ("traces", json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]})),
                ("logs", json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [log]}]}]})),
                (
                    "metrics",
                    json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [
                        {"name": "told", "unit": "1", "gauge": {"dataPoints": [point]}}]}]}]}),
                ),
            ] {
                client.post(format!("{collector}/v1/{path}")).json(&body).send().await?.error_for_status()?;
            }
        }
        Ok(())
    }

    /// What of all secrets the store holds in signals of `service`s for which the condition holds.
    pub(crate) async fn told(&self, query: &Query, of: &str) -> anyhow::Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for text in texts(query, of).await? {
            self.search(&text, &mut found);
        }
        Ok(found)
    }

    /// The same of the text files in a folder: what the parts printed.
    pub(crate) fn printed(&self, folder: &Path) -> anyhow::Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir(folder)? {
            self.search(&std::fs::read_to_string(entry?.path())?, &mut found);
        }
        Ok(found)
    }

    pub(crate) fn all(&self) -> BTreeSet<String> {
        self.0.iter().map(|(what, text)| format!("{what}: {text}")).chain([format!("a card number: {CARD}")]).collect()
    }

    fn search(&self, text: &str, found: &mut BTreeSet<String>) {
        let known = self.0.iter().filter(|(_, secret)| text.contains(secret.as_str()));
        found.extend(known.map(|(what, secret)| format!("{what}: {secret}")));
        found.extend(card_numbers(text).map(|number| format!("a card number: {number}")));
    }
}

fn pair(answer: &Value) -> anyhow::Result<[String; 2]> {
    let token = |name: &str| Some(answer[name].as_str()?.to_owned());
    token("token").zip(token("refresh_token")).map(<[_; 2]>::from).with_context(|| format!("no tokens in {answer}"))
}

/// Every distinct text of every column of every table, keys and values of attributes each for itself.
async fn texts(query: &Query, of: &str) -> anyhow::Result<BTreeSet<String>> {
    let columns = query
        .sql(
            "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_name IN ('spans', 'logs', \
             'metrics', 'metric_histograms', 'metric_exponential_histograms', 'metric_summaries') \
             AND table_schema = 'public'",
        )
        .await?;
    anyhow::ensure!(columns.len() > 100, "the tables are not there: {columns:?}");
    let mut texts = BTreeSet::new();
    for column in &columns {
        let name = |key: &str| column[key].as_str().unwrap_or_default();
        let (table, column, kind) = (name("table_name"), name("column_name"), name("data_type"));
        let values = match kind {
            _ if IDS.contains(&column) => continue,
            _ if kind.contains("Map(") && !kind.starts_with("List") => {
                vec![format!("unnest(map_keys({column}))"), format!("unnest(map_values({column}))")]
            }
            _ if kind.contains("Utf8") => vec![column.to_owned()],
            _ => continue, // a number, a time, or a list of numbers
        };
        for value in values {
            // A list of records cannot be told apart by SQL; it comes whole and is taken apart here.
            let select = if kind.starts_with("List") { "SELECT" } else { "SELECT DISTINCT" };
            let present =
                if kind.starts_with("List") { format!("cardinality({column}) > 0") } else { "true".to_owned() };
            let sql = format!("{select} {value} AS value FROM {table} WHERE {of} AND {present}");
            for row in query.sql(&sql).await? {
                collect(&row["value"], &mut texts);
            }
        }
    }
    Ok(texts)
}

fn collect(value: &Value, texts: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => drop(texts.insert(text.clone())),
        Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| !IDS.contains(&key.as_str())) {
                texts.insert(key.clone());
                collect(value, texts);
            }
        }
        _ => {}
    }
}

/// Numbers as they are on cards: 13 to 19 digits, in a row or in groups of four, that begin like one of the large networks' and
/// pass Luhn. What is part of a longer word or number, as in a UUID, is none.
fn card_numbers(text: &str) -> impl Iterator<Item = String> {
    let within = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | ' ' | '.' | '_');
    text.split(move |letter| !within(letter)).flat_map(|part| {
        // Words apart by blanks are one number only if all are digits.
        let words: Vec<&str> = part.split(' ').collect();
        let grouped = words.windows(4).map(<[&str]>::concat).filter(|_| words.len() >= 4);
        let dashed = words.iter().filter(|word| groups_of_four(word)).map(|word| word.replace('-', ""));
        let plain = words.iter().map(|word| word.trim_end_matches('.').to_owned());
        let candidates: Vec<String> = plain.chain(dashed).chain(grouped).collect();
        candidates.into_iter().filter(|number| is_card_number(number))
    })
}

fn groups_of_four(word: &str) -> bool {
    word.len() == 19 && word.split('-').all(|group| group.len() == 4)
}

fn is_card_number(number: &str) -> bool {
    let digits: Vec<u32> = number.chars().map_while(|letter| letter.to_digit(10)).collect();
    let begins = |prefix: &str| number.starts_with(prefix);
    let of_a_network = match digits.len() {
        15 => begins("34") || begins("37"),
        13 | 16 | 19 => begins("4") || begins("5") || begins("2") || begins("6"),
        _ => false,
    };
    let doubled = |(place, digit): (usize, &u32)| match (place % 2, digit * 2) {
        (0, _) => *digit,
        (_, twice) => twice / 10 + twice % 10,
    };
    let sum: u32 = digits.iter().rev().enumerate().map(doubled).sum();
    digits.len() == number.chars().count() && of_a_network && sum.is_multiple_of(10)
}

#[test]
fn a_card_number_is_found_as_people_write_it_and_an_id_is_none() {
    let found = |text: &str| card_numbers(text).collect::<Vec<_>>();
    for text in [
        "4111111111111111",
        "paid by 4111111111111111.",
        "card=\"4111111111111111\"",
        "4111 1111 1111 1111",
        "by 4111-1111-1111-1111, today",
        r#"{"pan":"4111111111111111"}"#,
    ] {
        assert_eq!(found(text), ["4111111111111111"], "{text}");
    }
    assert_eq!(found("371449635398431"), ["371449635398431"]);
    for text in [
        "4111111111111112",
        "a4111111111111111",
        "01a204ac-4111-1111-1111-111111111111",
        "0.4111111111111111",
        "4111-1111-1111-1111-1111",
        "1732300000000000000",
    ] {
        assert_eq!(found(text), [""; 0], "{text}");
    }
}
