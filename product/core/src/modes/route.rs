//! Who does a piece of work: decided once for each, by a stable share of the users.

use std::fmt;

use product_bus::Event;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What can be taken out of core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Concern {
    Jobs,
    Analytics,
}

impl Concern {
    pub(crate) const ALL: [Concern; 2] = [Concern::Jobs, Concern::Analytics];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Concern::Jobs => "jobs",
            Concern::Analytics => "analytics",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Concern> {
        Concern::ALL.into_iter().find(|concern| concern.as_str() == text)
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// In core, inside the request.
    Inline,
    /// In core as with `inline`; the service does it as well, without effect, and the two are compared.
    Dual,
    /// In the service, told by an event.
    Events,
}

impl Mode {
    const ALL: [Mode; 3] = [Mode::Inline, Mode::Dual, Mode::Events];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Mode::Inline => "inline",
            Mode::Dual => "dual",
            Mode::Events => "events",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.as_str() == text)
    }

    /// How a stamped event is dealt with.
    pub(crate) fn of(event: &Event, concern: Concern) -> Mode {
        event.extensions.get(concern.as_str()).and_then(|mode| Mode::parse(mode)).unwrap_or(Mode::Events)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `percent` of the traffic goes `mode`, the rest `otherwise`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Route {
    pub(crate) mode: Mode,
    pub(crate) percent: u8,
    pub(crate) otherwise: Mode,
}

impl Route {
    pub(crate) fn all(mode: Mode) -> Route {
        Route { mode, percent: 100, otherwise: mode }
    }

    /// This route changed to `percent` of `mode`. The rest goes as most of it went before.
    pub(crate) fn changed(self, mode: Mode, percent: u8) -> Route {
        let otherwise = if mode == self.mode { self.otherwise } else { self.mode };
        Route { mode, percent, otherwise }
    }

    /// How a user's work is done: the same answer as long as the route is the same, and whoever is within a share is
    /// within every larger one.
    pub(crate) fn of(self, concern: Concern, user_id: Uuid) -> Mode {
        self.at(place(concern, user_id))
    }

    /// The same for work that is nobody's in particular.
    pub(crate) fn drawn(self) -> Mode {
        self.at(rand::random_range(0..100))
    }

    fn at(self, place: u8) -> Mode {
        if place < self.percent { self.mode } else { self.otherwise }
    }

    /// Percent of the traffic that goes `mode`.
    pub(crate) fn share(self, mode: Mode) -> u8 {
        let first = if self.mode == mode { self.percent } else { 0 };
        let rest = if self.otherwise == mode { 100 - self.percent } else { 0 };
        first + rest
    }
}

/// 0 to 99, evenly. Each concern shuffles the users anew: the first to try one are not the first to try all.
fn place(concern: Concern, user_id: Uuid) -> u8 {
    let digest = Sha256::new().chain_update(concern.as_str()).chain_update(user_id.as_bytes()).finalize();
    let number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    (number % 100) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> impl Iterator<Item = Uuid> {
        (0..10_000).map(Uuid::from_u128)
    }

    #[test]
    fn a_share_is_a_share_of_the_users_and_grows_around_those_it_has() {
        let within = |percent: u8, user: &Uuid| {
            let route = Route::all(Mode::Inline).changed(Mode::Events, percent);
            route.of(Concern::Jobs, *user) == Mode::Events
        };
        for percent in [0, 1, 25, 50, 99, 100] {
            let count = users().filter(|user| within(percent, user)).count();
            let expected = usize::from(percent) * 100;
            assert!(count.abs_diff(expected) <= 150, "{count} of 10000 at {percent} %");
            assert!(percent != 0 || count == 0);
            assert!(percent != 100 || count == 10_000);
        }
        assert!(users().filter(|user| within(25, user)).all(|user| within(50, &user)));
    }

    #[test]
    fn concerns_choose_their_users_apart() {
        let both = users().filter(|user| place(Concern::Jobs, *user) < 10 && place(Concern::Analytics, *user) < 10);
        assert!((50..150).contains(&both.count()));
    }

    #[test]
    fn the_rest_goes_as_before() {
        let start = Route::all(Mode::Inline);
        let quarter = start.changed(Mode::Events, 25);
        assert_eq!(quarter, Route { mode: Mode::Events, percent: 25, otherwise: Mode::Inline });
        assert_eq!(
            quarter.changed(Mode::Events, 50),
            Route { mode: Mode::Events, percent: 50, otherwise: Mode::Inline }
        );
        assert_eq!(quarter.changed(Mode::Inline, 100).share(Mode::Inline), 100);
        assert_eq!((quarter.share(Mode::Events), quarter.share(Mode::Inline), quarter.share(Mode::Dual)), (25, 75, 0));
        assert_eq!(Route::all(Mode::Dual).share(Mode::Dual), 100);
    }
}
