//! The ledger: one JSON line for each intent that core acknowledged, the yardstick for what must have happened.
//!
//! A line is handed to the operating system before anything depends on it, so it survives the end of this process.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::locked;

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Type of the event that the intent must have caused: "payment.captured".
    pub(super) intent: String,
    /// The payment or the user.
    pub(super) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) amount_minor: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) currency: Option<String>,
    /// Who it was: seed of the run that invented the customer, and which of its customers.
    pub(super) seed: u64,
    pub(super) customer: u64,
}

#[derive(Debug)]
pub(super) struct Ledger {
    file: Mutex<File>,
}

impl Ledger {
    /// Opens or creates the ledger and tells `recall` what stands in it. A torn last line, left by a process that
    /// was killed while writing, is cut off.
    pub(super) fn open(path: &Path, mut recall: impl FnMut(Entry)) -> io::Result<Ledger> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // Appending keeps lines whole when a second generator, a herd for a minute, writes to the same ledger.
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut reader = BufReader::new(&file);
        let mut line = String::new();
        let mut whole_bytes = 0_u64;
        loop {
            line.clear();
            let bytes = reader.read_line(&mut line)?;
            if bytes == 0 {
                break;
            }
            if !line.ends_with('\n') {
                file.set_len(whole_bytes)?;
                break;
            }
            whole_bytes += bytes as u64;
            match serde_json::from_str(&line) {
                Ok(entry) => recall(entry),
                Err(error) => return Err(io::Error::other(format!("byte {whole_bytes}: {error}"))),
            }
        }
        Ok(Ledger { file: Mutex::new(file) })
    }

    /// Appends one line. A single small write to the page cache, so it is done in place rather than handed to
    /// another thread; nothing waits for the disk.
    pub(super) fn append(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        locked(&self.file).write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> Entry {
        Entry {
            intent: "payment.captured".to_owned(),
            id: id.to_owned(),
            amount_minor: Some(1250),
            currency: Some("EUR".to_owned()),
            seed: 1,
            customer: 3,
        }
    }

    fn read(path: &Path) -> (Ledger, Vec<String>) {
        let mut ids = Vec::new();
        let ledger = Ledger::open(path, |entry| ids.push(entry.id)).expect("a ledger");
        (ledger, ids)
    }

    #[test]
    fn what_was_appended_is_recalled() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("product/ledger.jsonl");
        let (ledger, ids) = read(&path);
        assert!(ids.is_empty());
        ledger.append(&entry("a")).expect("appended");
        ledger.append(&entry("b")).expect("appended");
        assert_eq!(read(&path).1, ["a", "b"]);
        expect_test::expect![[r#"
            {"intent":"payment.captured","id":"a","amount_minor":1250,"currency":"EUR","seed":1,"customer":3}
            {"intent":"payment.captured","id":"b","amount_minor":1250,"currency":"EUR","seed":1,"customer":3}
        "#]]
        .assert_eq(&std::fs::read_to_string(&path).expect("read"));
    }

    #[test]
    fn two_generators_write_to_one_ledger() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.jsonl");
        let (first, second) = (read(&path).0, read(&path).0);
        for (ledger, id) in [(&first, "a"), (&second, "b"), (&first, "c")] {
            ledger.append(&entry(id)).expect("appended");
        }
        assert_eq!(read(&path).1, ["a", "b", "c"]);
    }

    #[test]
    fn a_torn_last_line_is_cut_and_the_next_one_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.jsonl");
        read(&path).0.append(&entry("a")).expect("appended");
        let torn = std::fs::read(&path).expect("read");
        std::fs::write(&path, [torn.as_slice(), b"{\"intent\":\"paym"].concat()).expect("torn");
        let (ledger, ids) = read(&path);
        assert_eq!(ids, ["a"]);
        ledger.append(&entry("b")).expect("appended");
        assert_eq!(read(&path).1, ["a", "b"]);
    }
}
