//! A selection that follows its row: lists here are sorted anew with every answer.

use crate::input::Step;

/// Rows a page key moves by; the screens are drawn around the selection, so it need not match their height.
const PAGE_ROWS: usize = 10;

/// The selected row, remembered by its key; its place is the fallback when the row is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    key: Option<String>,
    index: usize,
}

impl Cursor {
    pub(crate) fn at(key: &str) -> Cursor {
        Cursor { key: Some(key.to_owned()), index: 0 }
    }

    /// Where the selection is among `keys`; 0 when there are none.
    pub(crate) fn index<K: AsRef<str>>(&self, keys: &[K]) -> usize {
        let wanted = self.key.as_deref();
        keys.iter()
            .position(|key| Some(key.as_ref()) == wanted)
            .unwrap_or_else(|| self.index.min(keys.len().saturating_sub(1)))
    }

    pub(crate) fn go<K: AsRef<str>>(&mut self, keys: &[K], step: Step) {
        let last = keys.len().saturating_sub(1);
        let index = self.index(keys);
        let index = match step {
            Step::Up => index.saturating_sub(1),
            Step::Down => (index + 1).min(last),
            Step::Top => 0,
            Step::Bottom => last,
            Step::PageUp => index.saturating_sub(PAGE_ROWS),
            Step::PageDown => (index + PAGE_ROWS).min(last),
            Step::Left | Step::Right => index,
        };
        *self = Cursor { key: keys.get(index).map(|key| key.as_ref().to_owned()), index };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selection_follows_its_row_when_the_order_changes() {
        let mut cursor = Cursor::default();
        cursor.go(&["core", "jobs", "load"], Step::Down);
        assert_eq!(cursor.index(&["jobs", "load", "core"]), 0);
        assert_eq!(cursor.index(&["core", "load"]), 1, "gone: its old place");
        assert_eq!(cursor.index::<&str>(&[]), 0);
    }

    #[test]
    fn it_stops_at_both_ends() {
        let mut cursor = Cursor::default();
        cursor.go(&["a", "b"], Step::Up);
        assert_eq!(cursor.index(&["a", "b"]), 0);
        cursor.go(&["a", "b"], Step::PageDown);
        cursor.go(&["a", "b"], Step::Down);
        assert_eq!(cursor.index(&["a", "b"]), 1);
        cursor.go::<&str>(&[], Step::Bottom);
        assert_eq!(cursor.index(&["a", "b"]), 0);
    }
}
