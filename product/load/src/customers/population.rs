//! Who is signed in and what they have: decides which customer can do the next step.
//!
//! Whoever a step's draw points at is asked first, then the neighbours, until somebody can do just what the step names;
//! so the mix of requests stays the planned one. When nobody near can, the one drawn does something plainer. No step turns
//! into a registration, and only so many at a time into a login: passwords are dear, and a morning of nothing but logins is
//! not what was planned.

use std::collections::{HashMap, VecDeque};

use super::intent::{Customer, Errand, Intent, Open, Session, Token};
use super::ledger::Entry;
use super::names::Name;
use super::plan::{Endpoint, Step};

/// Customers kept in mind; beyond, a would-be registration is a login. Each costs about a kilobyte.
const CUSTOMERS_MAX: usize = 50_000;
/// Payments remembered of each customer, the newest, for reading, capturing and refunding.
const PAYMENTS_KEPT_MAX: usize = 16;
/// Customers asked in turn whether they can do what a step names. So many that rare things, such as a payment that waits for its
/// capture, are found among hundreds; asking takes microseconds.
const PROBES_MAX: u64 = 128;
/// People who sign in although the step was another, because nobody is signed in any more.
const RETURNING_AT_ONCE_MAX: usize = 4;

pub(super) struct Population {
    seed: u64,
    /// Number of the next newcomer of this seed.
    next: u64,
    people: Vec<Person>,
    places: HashMap<Name, Customer>,
    /// Invented, and not known to be registered: their registration was never answered.
    strangers: Vec<Customer>,
    signed_out: Room,
    signed_in: Room,
    logins_under_way: usize,
}

struct Person {
    name: Name,
    user_id: Option<String>,
    session: Option<Session>,
    has_avatar: bool,
    requests_under_way: usize,
    payments: VecDeque<Bought>,
    /// Where the person stands in the room he or she is in.
    position: usize,
}

impl Person {
    fn is_idle(&self) -> bool {
        self.requests_under_way == 0
    }

    fn has_open(&self, open: Open) -> bool {
        self.payments.iter().any(|bought| bought.open == open)
    }
}

struct Bought {
    payment: String,
    open: Open,
}

/// People among whom any can be picked, and from whom any can leave, in constant time.
#[derive(Default)]
struct Room(Vec<Customer>);

impl Room {
    fn pick(&self, who: u64) -> Option<Customer> {
        let count = self.0.len() as u64;
        (count > 0).then(|| self.0[(who % count) as usize])
    }

    fn enter(&mut self, people: &mut [Person], customer: Customer) {
        people[customer].position = self.0.len();
        self.0.push(customer);
    }

    fn leave(&mut self, people: &mut [Person], customer: Customer) {
        let position = people[customer].position;
        self.0.swap_remove(position);
        if let Some(moved) = self.0.get(position) {
            people[*moved].position = position;
        }
    }
}

impl Population {
    pub(super) fn new(seed: u64) -> Population {
        Population {
            seed,
            next: 0,
            people: Vec::new(),
            places: HashMap::new(),
            strangers: Vec::new(),
            signed_out: Room::default(),
            signed_in: Room::default(),
            logins_under_way: 0,
        }
    }

    /// People who are registered: those signed in, and those not.
    pub(super) fn present(&self) -> (usize, usize) {
        (self.signed_in.0.len(), self.signed_out.0.len())
    }

    /// Takes in what an earlier run left in the ledger.
    pub(super) fn recall(&mut self, entry: Entry) {
        let name = Name { seed: entry.seed, customer: entry.customer };
        if name.seed == self.seed {
            self.next = self.next.max(name.customer + 1);
        }
        let customer = match self.places.get(&name) {
            Some(customer) => *customer,
            None if self.people.len() < CUSTOMERS_MAX => {
                let customer = self.invent(name);
                self.signed_out.enter(&mut self.people, customer);
                customer
            }
            None => return,
        };
        match entry.intent.split_once('.') {
            Some(("user", "registered")) => self.people[customer].user_id = Some(entry.id),
            Some(("payment", status)) => self.has_payment(customer, entry.id, Open::after(status)),
            _ => {}
        }
    }

    /// What can be done for `step` now; none when nobody can do it nor anything like it.
    pub(super) fn begin(&mut self, step: &Step) -> Option<Intent> {
        let (customer, errand) = match step.endpoint {
            Endpoint::Register => self.newcomer().or_else(|| self.returning(step.who)).or_else(|| self.visit(step))?,
            Endpoint::LogIn => self.returning(step.who).or_else(|| self.visit(step))?,
            _ => self.visit(step).or_else(|| self.hurrying_back(step.who))?,
        };
        Some(self.intent(customer, errand))
    }

    /// Somebody new; none when there are enough people.
    pub(super) fn begin_registering(&mut self) -> Option<Intent> {
        let (customer, errand) = self.newcomer()?;
        Some(self.intent(customer, errand))
    }

    /// Somebody who comes back; none when nobody is out.
    pub(super) fn begin_signing_in(&mut self) -> Option<Intent> {
        let (customer, errand) = self.returning(0)?;
        Some(self.intent(customer, errand))
    }

    fn intent(&mut self, customer: Customer, errand: Errand) -> Intent {
        let person = &mut self.people[customer];
        person.requests_under_way += 1;
        Intent { customer, name: person.name, errand }
    }

    /// The request of an intent has its answer, or never gets one.
    pub(super) fn end(&mut self, intent: &Intent) {
        self.people[intent.customer].requests_under_way -= 1;
        self.logins_under_way -= usize::from(matches!(intent.errand, Errand::LogIn));
    }

    fn newcomer(&mut self) -> Option<(Customer, Errand)> {
        if let Some(stranger) = self.strangers.pop() {
            return Some((stranger, Errand::Register));
        }
        if self.people.len() >= CUSTOMERS_MAX {
            return None;
        }
        let name = Name { seed: self.seed, customer: self.next };
        self.next += 1;
        Some((self.invent(name), Errand::Register))
    }

    fn returning(&mut self, who: u64) -> Option<(Customer, Errand)> {
        let customer = self.signed_out.pick(who)?;
        self.signed_out.leave(&mut self.people, customer);
        self.logins_under_way += 1;
        Some((customer, Errand::LogIn))
    }

    fn hurrying_back(&mut self, who: u64) -> Option<(Customer, Errand)> {
        if self.logins_under_way < RETURNING_AT_ONCE_MAX { self.returning(who) } else { None }
    }

    /// Something that somebody who is signed in does.
    fn visit(&mut self, step: &Step) -> Option<(Customer, Errand)> {
        if let Some(wanted) = self.just_this(step) {
            return Some(wanted);
        }
        let customer = self.signed_in.pick(step.who)?;
        let token = self.people[customer].session.as_ref()?.token.clone();
        let errand = match step.endpoint {
            Endpoint::ReadProfile | Endpoint::ReadAvatar => Errand::ReadProfile(token),
            Endpoint::WriteProfile => Errand::WriteProfile(token),
            Endpoint::WriteAvatar => Errand::WriteAvatar(token),
            Endpoint::Pay => Errand::Pay(token),
            Endpoint::Authorize => Errand::Authorize(token),
            Endpoint::ReadPayment | Endpoint::ListPayments | Endpoint::Capture | Endpoint::Refund => {
                Errand::ListPayments(token)
            }
            _ => Errand::Session(token),
        };
        Some((customer, errand))
    }

    /// What not everybody can do, done by somebody who can.
    fn just_this(&mut self, step: &Step) -> Option<(Customer, Errand)> {
        match step.endpoint {
            // Nobody leaves, or changes tokens, under a request of his or hers: it would be refused for no good reason.
            Endpoint::LogOut => {
                let (customer, session) = self.able(step.who, Person::is_idle)?;
                self.step_out(customer);
                Some((customer, Errand::LogOut(session.token)))
            }
            Endpoint::Refresh => {
                let can = |person: &Person| {
                    person.is_idle() && person.session.as_ref().is_some_and(|session| session.refresh.is_some())
                };
                let (customer, session) = self.able(step.who, can)?;
                let refresh = session.refresh.clone()?;
                self.step_out(customer);
                Some((customer, Errand::Refresh(session, refresh)))
            }
            Endpoint::ReadAvatar => {
                let (customer, session) = self.able(step.who, |person| person.has_avatar)?;
                Some((customer, Errand::ReadAvatar(session.token)))
            }
            Endpoint::ReadPayment => {
                let (customer, session) = self.able(step.who, |person| !person.payments.is_empty())?;
                let payments = &self.people[customer].payments;
                // The high half: the low one chose the customer.
                let payment = payments[((step.who >> 32) % payments.len() as u64) as usize].payment.clone();
                Some((customer, Errand::ReadPayment(session.token, payment)))
            }
            Endpoint::Capture => {
                let (customer, session) = self.able(step.who, |person| person.has_open(Open::Capture))?;
                Some((customer, Errand::Capture(session.token, self.take_up(customer, Open::Capture)?)))
            }
            Endpoint::Refund => {
                let (customer, session) = self.able(step.who, |person| person.has_open(Open::Refund))?;
                Some((customer, Errand::Refund(session.token, self.take_up(customer, Open::Refund)?)))
            }
            _ => None,
        }
    }

    /// The first of the people near `who` who is able, and the session of that person.
    fn able(&self, who: u64, able: impl Fn(&Person) -> bool) -> Option<(Customer, Session)> {
        let probes = PROBES_MAX.min(self.signed_in.0.len() as u64);
        let mut near = (0..probes).filter_map(|probe| self.signed_in.pick(who.wrapping_add(probe)));
        let customer = near.find(|customer| able(&self.people[*customer]))?;
        Some((customer, self.people[customer].session.clone()?))
    }

    /// A payment with which `open` can be done, and from now on nobody else does it.
    fn take_up(&mut self, customer: Customer, open: Open) -> Option<String> {
        let bought = self.people[customer].payments.iter_mut().find(|bought| bought.open == open)?;
        bought.open = Open::Nothing;
        Some(bought.payment.clone())
    }

    /// Out of the room of those signed in, and not yet in the other.
    fn step_out(&mut self, customer: Customer) {
        self.signed_in.leave(&mut self.people, customer);
        self.people[customer].session = None;
    }

    fn invent(&mut self, name: Name) -> Customer {
        let customer = self.people.len();
        self.people.push(Person {
            name,
            user_id: None,
            session: None,
            has_avatar: false,
            requests_under_way: 0,
            payments: VecDeque::new(),
            position: 0,
        });
        self.places.insert(name, customer);
        customer
    }

    /// The registration was answered; without a user id when somebody of that name was there already.
    pub(super) fn registered(&mut self, customer: Customer, user_id: Option<String>) {
        self.people[customer].user_id = user_id;
        self.signed_out.enter(&mut self.people, customer);
    }

    /// Whether the registration happened is not known: it is tried again some day.
    pub(super) fn not_registered(&mut self, customer: Customer) {
        self.strangers.push(customer);
    }

    /// After a login, or a refresh.
    pub(super) fn signed_in(&mut self, customer: Customer, session: Session) {
        self.people[customer].session = Some(session);
        self.signed_in.enter(&mut self.people, customer);
    }

    /// After a login or a refresh that failed, or a logout: the person is out.
    pub(super) fn signed_out(&mut self, customer: Customer) {
        self.signed_out.enter(&mut self.people, customer);
    }

    /// Core no longer accepts this token.
    pub(super) fn refused(&mut self, customer: Customer, token: &Token) {
        // Another request may have met the same refusal first, and the person be back with a new token.
        if self.people[customer].session.as_ref().is_some_and(|session| session.token == *token) {
            self.step_out(customer);
            self.signed_out.enter(&mut self.people, customer);
        }
    }

    pub(super) fn user_id(&self, customer: Customer) -> Option<String> {
        self.people[customer].user_id.clone()
    }

    pub(super) fn is_known_as(&mut self, customer: Customer, user_id: String) {
        self.people[customer].user_id = Some(user_id);
    }

    pub(super) fn has_avatar(&mut self, customer: Customer) {
        self.people[customer].has_avatar = true;
    }

    /// What can be done with a payment from now on, one just made included.
    pub(super) fn has_payment(&mut self, customer: Customer, payment: String, open: Open) {
        let payments = &mut self.people[customer].payments;
        if let Some(bought) = payments.iter_mut().find(|bought| bought.payment == payment) {
            bought.open = open;
            return;
        }
        if payments.len() == PAYMENTS_KEPT_MAX {
            payments.pop_front();
        }
        payments.push_back(Bought { payment, open });
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Plan;
    use super::*;

    fn step(endpoint: Endpoint) -> Step {
        let step = Plan::new(1, "1".parse().expect("a rate"), 1).next().expect("a step");
        Step { endpoint, ..step }
    }

    fn began(population: &mut Population, endpoint: Endpoint) -> (Customer, Endpoint) {
        let intent = population.begin(&step(endpoint)).expect("somebody");
        population.end(&intent);
        (intent.customer, intent.errand.endpoint())
    }

    fn session(token: &str) -> Session {
        Session { token: Token::new(token), refresh: Some(Token::new("r")) }
    }

    /// So many people, signed in.
    fn inside(count: usize) -> Population {
        let mut population = Population::new(1);
        for customer in 0..count {
            began(&mut population, Endpoint::Register);
            population.registered(customer, Some(format!("u{customer}")));
            let login = population.begin_signing_in().expect("somebody is out");
            population.end(&login);
            population.signed_in(customer, session("t"));
        }
        population
    }

    #[test]
    fn nobody_is_asked_for_what_he_cannot_do() {
        let mut population = inside(1);
        assert_eq!(began(&mut population, Endpoint::LogIn), (0, Endpoint::Session));
        for endpoint in [Endpoint::Refund, Endpoint::Capture, Endpoint::ReadPayment] {
            assert_eq!(began(&mut population, endpoint), (0, Endpoint::ListPayments));
        }
        assert_eq!(began(&mut population, Endpoint::ReadAvatar), (0, Endpoint::ReadProfile));
        population.has_avatar(0);
        assert_eq!(began(&mut population, Endpoint::ReadAvatar), (0, Endpoint::ReadAvatar));
        assert_eq!(began(&mut population, Endpoint::Pay), (0, Endpoint::Pay));
        assert_eq!(began(&mut population, Endpoint::LogOut), (0, Endpoint::LogOut));
        population.signed_out(0);
        assert_eq!(began(&mut population, Endpoint::Session), (0, Endpoint::LogIn));
    }

    #[test]
    fn a_payment_is_authorized_then_captured_then_refunded_each_once() {
        let mut population = inside(1);
        population.has_payment(0, "p".to_owned(), Open::after("authorized"));
        assert_eq!(began(&mut population, Endpoint::Refund), (0, Endpoint::ListPayments), "nothing was taken yet");
        assert_eq!(began(&mut population, Endpoint::Capture), (0, Endpoint::Capture));
        assert_eq!(began(&mut population, Endpoint::Capture), (0, Endpoint::ListPayments), "asked for once");
        population.has_payment(0, "p".to_owned(), Open::Capture);
        assert_eq!(began(&mut population, Endpoint::Capture), (0, Endpoint::Capture), "and again when it failed");
        population.has_payment(0, "p".to_owned(), Open::after("captured"));
        assert_eq!(began(&mut population, Endpoint::Refund), (0, Endpoint::Refund));
        population.has_payment(0, "p".to_owned(), Open::after("refunded"));
        assert_eq!(began(&mut population, Endpoint::Refund), (0, Endpoint::ListPayments));
        assert_eq!(began(&mut population, Endpoint::ReadPayment), (0, Endpoint::ReadPayment));
        assert_eq!(population.people[0].payments.len(), 1);
    }

    #[test]
    fn a_neighbour_does_what_the_one_drawn_cannot() {
        let mut population = inside(10);
        let drawn = population.signed_in.pick(step(Endpoint::Refund).who).expect("somebody");
        let neighbour = (drawn + 9) % 10;
        population.has_payment(neighbour, "p".to_owned(), Open::Refund);
        assert_eq!(began(&mut population, Endpoint::Refund), (neighbour, Endpoint::Refund));
    }

    #[test]
    fn nobody_leaves_under_a_request_of_his_own() {
        let mut population = inside(1);
        let paying = population.begin(&step(Endpoint::Pay)).expect("somebody");
        assert_eq!(began(&mut population, Endpoint::LogOut), (0, Endpoint::Session));
        assert_eq!(began(&mut population, Endpoint::Refresh), (0, Endpoint::Session));
        population.end(&paying);
        assert_eq!(began(&mut population, Endpoint::Refresh), (0, Endpoint::Refresh));
        assert!(population.begin(&step(Endpoint::Pay)).is_none(), "the token is being changed");
    }

    #[test]
    fn without_anybody_inside_few_sign_in_at_a_time_and_nobody_registers() {
        let mut population = Population::new(1);
        assert!(population.begin(&step(Endpoint::Pay)).is_none() && population.begin(&step(Endpoint::LogIn)).is_none());
        for customer in 0..10 {
            began(&mut population, Endpoint::Register);
            population.registered(customer, None);
        }
        let logins: Vec<Intent> = (0..10).filter_map(|_| population.begin(&step(Endpoint::Pay))).collect();
        assert_eq!(logins.len(), RETURNING_AT_ONCE_MAX);
        assert!(logins.iter().all(|login| login.errand.endpoint() == Endpoint::LogIn));
        assert!(population.begin(&step(Endpoint::LogIn)).is_some(), "a planned login is no hurry");
        for login in &logins {
            population.end(login);
            population.signed_out(login.customer);
        }
        assert!(population.begin(&step(Endpoint::Pay)).is_some());
    }

    #[test]
    fn two_refusals_of_one_token_sign_out_once() {
        let mut population = inside(1);
        let token = Token::new("t");
        population.refused(0, &token);
        population.refused(0, &token);
        assert_eq!(population.present(), (0, 1));
        assert_eq!(began(&mut population, Endpoint::LogIn), (0, Endpoint::LogIn));
        assert!(population.begin(&step(Endpoint::LogIn)).is_none());
    }

    #[test]
    fn rooms_stay_whole_while_people_come_and_go() {
        let mut population = Population::new(9);
        for customer in 0..50 {
            assert_eq!(population.newcomer().map(|(who, _)| who), Some(customer));
            population.registered(customer, None);
        }
        for who in 0..50_u64 {
            let (customer, _) = population.returning(who * 7).expect("somebody is out");
            population.signed_in(customer, session("t"));
        }
        assert!(population.returning(3).is_none());
        let mut inside = population.signed_in.0.clone();
        inside.sort_unstable();
        assert_eq!(inside, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_ledger_brings_back_people_and_their_payments() {
        let entry = |intent: &str, id: &str, seed, customer| Entry {
            intent: intent.to_owned(),
            id: id.to_owned(),
            amount_minor: None,
            currency: None,
            seed,
            customer,
        };
        let mut population = Population::new(1);
        population.recall(entry("user.registered", "u4", 1, 4));
        population.recall(entry("payment.captured", "p1", 1, 4));
        population.recall(entry("payment.authorized", "p2", 1, 4));
        population.recall(entry("payment.authorized", "p3", 1, 4));
        population.recall(entry("payment.captured", "p3", 1, 4));
        population.recall(entry("payment.refunded", "p1", 1, 4));
        population.recall(entry("user.registered", "u0", 2, 0));
        assert_eq!(population.present(), (0, 2));
        assert_eq!(population.user_id(0).as_deref(), Some("u4"));
        let open: Vec<_> = population.people[0].payments.iter().map(|bought| bought.open).collect();
        assert_eq!(open, [Open::Nothing, Open::Capture, Open::Refund]);
        let (newcomer, _) = population.newcomer().expect("a newcomer");
        assert_eq!(population.people[newcomer].name, Name { seed: 1, customer: 5 });
    }
}
