//! Who the customers are, who is signed in, what they bought: decides which of them can do the next step.
//!
//! Names and passwords follow from the seed, so a run on the data of an earlier one signs the same people in.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::ledger::Entry;
use super::plan::{Endpoint, Step};

/// Customers kept in mind; beyond, a would-be registration is a login. Each costs about a kilobyte.
const CUSTOMERS_MAX: usize = 20_000;
/// Payments remembered of each customer, the newest, for reading and refunding.
const PAYMENTS_KEPT_MAX: usize = 16;
/// Customers asked in turn whether they have something to refund.
const REFUND_PROBES_MAX: usize = 16;

const GIVEN_NAMES: [&str; 16] = [
    "Ada", "Bruno", "Chiara", "Deniz", "Elif", "Fatima", "Goran", "Hana", "Ines", "Jonas", "Kofi", "Lena", "Mateo",
    "Noor", "Olga", "Priya",
];
const FAMILY_NAMES: [&str; 12] = [
    "Andersson",
    "Brandt",
    "Costa",
    "Dubois",
    "Evans",
    "Fischer",
    "García",
    "Hoang",
    "Ivanova",
    "Jensen",
    "Kaya",
    "O'Neill",
];

/// Which customer of which seed: all else about the person follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) seed: u64,
    pub(super) customer: u64,
}

impl Name {
    pub(super) fn email(&self) -> String {
        format!("customer-{}-{}@example.com", self.seed, self.customer)
    }

    pub(super) fn password(&self) -> String {
        format!("correct-horse-{:016x}", self.mixed())
    }

    pub(super) fn display_name(&self) -> String {
        let mixed = self.mixed() as usize;
        let given = GIVEN_NAMES[mixed % GIVEN_NAMES.len()];
        let family = FAMILY_NAMES[(mixed >> 16) % FAMILY_NAMES.len()];
        format!("{given} {family}")
    }

    /// SplitMix64's finaliser: neighbours in, strangers out.
    fn mixed(&self) -> u64 {
        let mut mixed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(self.customer);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Proof of being signed in. No `Debug`: it must not reach a log.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(Arc<str>);

impl Token {
    pub(super) fn new(text: &str) -> Token {
        Token(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

/// Place of a customer in the population.
pub(super) type Customer = usize;

/// One request that can be made now.
pub(super) struct Intent {
    pub(super) customer: Customer,
    pub(super) name: Name,
    pub(super) errand: Errand,
}

pub(super) enum Errand {
    Register,
    LogIn,
    LogOut(Token),
    Session(Token),
    ReadProfile(Token),
    WriteProfile(Token),
    Pay(Token),
    ReadPayment(Token, String),
    ListPayments(Token),
    Refund(Token, String),
}

impl Errand {
    pub(super) fn endpoint(&self) -> Endpoint {
        match self {
            Errand::Register => Endpoint::Register,
            Errand::LogIn => Endpoint::LogIn,
            Errand::LogOut(_) => Endpoint::LogOut,
            Errand::Session(_) => Endpoint::Session,
            Errand::ReadProfile(_) => Endpoint::ReadProfile,
            Errand::WriteProfile(_) => Endpoint::WriteProfile,
            Errand::Pay(_) => Endpoint::Pay,
            Errand::ReadPayment(..) => Endpoint::ReadPayment,
            Errand::ListPayments(_) => Endpoint::ListPayments,
            Errand::Refund(..) => Endpoint::Refund,
        }
    }
}

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
}

struct Person {
    name: Name,
    user_id: Option<String>,
    token: Option<Token>,
    requests_under_way: usize,
    payments: VecDeque<Bought>,
    /// Where the person stands in the room he or she is in.
    position: usize,
}

struct Bought {
    payment: String,
    /// Captured, and no refund asked for.
    refundable: bool,
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
        }
    }

    pub(super) fn len(&self) -> usize {
        self.people.len()
    }

    /// Whether somebody is registered and not signed in.
    pub(super) fn somebody_is_out(&self) -> bool {
        !self.signed_out.0.is_empty()
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
        match entry.intent.as_str() {
            "user.registered" => self.people[customer].user_id = Some(entry.id),
            "payment.captured" => self.bought(customer, entry.id, true),
            "payment.declined" => self.bought(customer, entry.id, false),
            "payment.refunded" => self.settle_refund(customer, &entry.id, true),
            _ => {}
        }
    }

    /// What can be done for `step` now. When nobody can do what it names, somebody does the next best thing:
    /// signs in, looks at something, registers. `None` only when everybody is busy and no one new may come.
    pub(super) fn begin(&mut self, step: &Step) -> Option<Intent> {
        let (customer, errand) = match step.endpoint {
            Endpoint::Register => self.newcomer().or_else(|| self.returning(step.who)).or_else(|| self.visit(step))?,
            Endpoint::LogIn => self.returning(step.who).or_else(|| self.visit(step)).or_else(|| self.newcomer())?,
            _ => self.visit(step).or_else(|| self.returning(step.who)).or_else(|| self.newcomer())?,
        };
        let person = &mut self.people[customer];
        person.requests_under_way += 1;
        Some(Intent { customer, name: person.name, errand })
    }

    /// The request of an intent has its answer, or never gets one.
    pub(super) fn end(&mut self, customer: Customer) {
        self.people[customer].requests_under_way -= 1;
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
        Some((customer, Errand::LogIn))
    }

    /// Something that somebody who is signed in does.
    fn visit(&mut self, step: &Step) -> Option<(Customer, Errand)> {
        if step.endpoint == Endpoint::Refund
            && let Some(refund) = self.refund(step.who)
        {
            return Some(refund);
        }
        let customer = self.signed_in.pick(step.who)?;
        let token = self.people[customer].token.clone()?;
        let errand = match step.endpoint {
            Endpoint::ReadProfile => Errand::ReadProfile(token),
            Endpoint::WriteProfile => Errand::WriteProfile(token),
            Endpoint::Pay => Errand::Pay(token),
            Endpoint::ReadPayment | Endpoint::Refund => match self.some_payment(customer, step.who) {
                Some(payment) => Errand::ReadPayment(token, payment),
                None => Errand::ListPayments(token),
            },
            Endpoint::ListPayments => Errand::ListPayments(token),
            // Nobody leaves while a request of his or hers is under way: it would be refused for no good reason.
            Endpoint::LogOut if self.people[customer].requests_under_way == 0 => {
                self.signed_in.leave(&mut self.people, customer);
                self.people[customer].token = None;
                Errand::LogOut(token)
            }
            Endpoint::LogOut | Endpoint::Session | Endpoint::Register | Endpoint::LogIn => Errand::Session(token),
        };
        Some((customer, errand))
    }

    fn some_payment(&self, customer: Customer, who: u64) -> Option<String> {
        let payments = &self.people[customer].payments;
        let count = payments.len() as u64;
        // The high half: the low one chose the customer.
        (count > 0).then(|| payments[((who >> 32) % count) as usize].payment.clone())
    }

    fn refund(&mut self, who: u64) -> Option<(Customer, Errand)> {
        for probe in 0..REFUND_PROBES_MAX as u64 {
            let customer = self.signed_in.pick(who.wrapping_add(probe))?;
            let person = &mut self.people[customer];
            let token = person.token.clone()?;
            if let Some(bought) = person.payments.iter_mut().find(|bought| bought.refundable) {
                bought.refundable = false;
                return Some((customer, Errand::Refund(token, bought.payment.clone())));
            }
        }
        None
    }

    fn invent(&mut self, name: Name) -> Customer {
        let customer = self.people.len();
        self.people.push(Person {
            name,
            user_id: None,
            token: None,
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

    pub(super) fn signed_in(&mut self, customer: Customer, token: Token) {
        self.people[customer].token = Some(token);
        self.signed_in.enter(&mut self.people, customer);
    }

    /// After a login that failed, or a logout: the person is out.
    pub(super) fn signed_out(&mut self, customer: Customer) {
        self.signed_out.enter(&mut self.people, customer);
    }

    /// Core no longer accepts this token.
    pub(super) fn refused(&mut self, customer: Customer, token: &Token) {
        // Another request may have met the same refusal first, and the person be back with a new token.
        if self.people[customer].token.as_ref() == Some(token) {
            self.people[customer].token = None;
            self.signed_in.leave(&mut self.people, customer);
            self.signed_out.enter(&mut self.people, customer);
        }
    }

    pub(super) fn user_id(&self, customer: Customer) -> Option<String> {
        self.people[customer].user_id.clone()
    }

    pub(super) fn is_known_as(&mut self, customer: Customer, user_id: String) {
        self.people[customer].user_id = Some(user_id);
    }

    pub(super) fn bought(&mut self, customer: Customer, payment: String, refundable: bool) {
        let payments = &mut self.people[customer].payments;
        if payments.len() == PAYMENTS_KEPT_MAX {
            payments.pop_front();
        }
        payments.push_back(Bought { payment, refundable });
    }

    /// A refund that failed may be asked for again.
    pub(super) fn settle_refund(&mut self, customer: Customer, payment: &str, refunded: bool) {
        let payments = &mut self.people[customer].payments;
        if let Some(bought) = payments.iter_mut().find(|bought| bought.payment == payment) {
            bought.refundable = !refunded;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Plan;
    use super::*;

    fn step(endpoint: Endpoint) -> Step {
        let step = Plan::new(1, 1.0).next().expect("a step");
        Step { endpoint, ..step }
    }

    fn began(population: &mut Population, endpoint: Endpoint) -> (Customer, Endpoint) {
        let intent = population.begin(&step(endpoint)).expect("somebody");
        population.end(intent.customer);
        (intent.customer, intent.errand.endpoint())
    }

    #[test]
    fn nobody_is_asked_for_what_he_cannot_do() {
        let mut population = Population::new(1);
        assert_eq!(began(&mut population, Endpoint::Refund), (0, Endpoint::Register));
        population.registered(0, Some("u".to_owned()));
        assert_eq!(began(&mut population, Endpoint::Pay), (0, Endpoint::LogIn));
        population.signed_in(0, Token::new("t"));
        assert_eq!(began(&mut population, Endpoint::LogIn), (0, Endpoint::Session));
        assert_eq!(began(&mut population, Endpoint::Refund), (0, Endpoint::ListPayments));
        assert_eq!(began(&mut population, Endpoint::Pay), (0, Endpoint::Pay));
        population.bought(0, "p".to_owned(), true);
        assert_eq!(began(&mut population, Endpoint::Refund), (0, Endpoint::Refund));
        assert_eq!(began(&mut population, Endpoint::Refund), (0, Endpoint::ReadPayment), "asked for once");
        population.settle_refund(0, "p", false);
        assert_eq!(began(&mut population, Endpoint::Refund), (0, Endpoint::Refund), "and again when it failed");
        assert_eq!(began(&mut population, Endpoint::LogOut), (0, Endpoint::LogOut));
        population.signed_out(0);
        assert_eq!(began(&mut population, Endpoint::Session), (0, Endpoint::LogIn));
    }

    #[test]
    fn nobody_logs_out_under_a_request_of_his_own() {
        let mut population = Population::new(1);
        began(&mut population, Endpoint::Register);
        population.registered(0, None);
        began(&mut population, Endpoint::LogIn);
        population.signed_in(0, Token::new("t"));
        let _paying = population.begin(&step(Endpoint::Pay)).expect("somebody");
        assert_eq!(began(&mut population, Endpoint::LogOut), (0, Endpoint::Session));
    }

    #[test]
    fn two_refusals_of_one_token_sign_out_once() {
        let mut population = Population::new(1);
        began(&mut population, Endpoint::Register);
        population.registered(0, None);
        began(&mut population, Endpoint::LogIn);
        let token = Token::new("t");
        population.signed_in(0, token.clone());
        population.refused(0, &token);
        population.refused(0, &token);
        assert_eq!(began(&mut population, Endpoint::LogIn), (0, Endpoint::LogIn));
        assert_eq!(began(&mut population, Endpoint::LogIn), (1, Endpoint::Register));
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
            population.signed_in(customer, Token::new("t"));
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
        population.recall(entry("payment.captured", "p2", 1, 4));
        population.recall(entry("payment.refunded", "p1", 1, 4));
        population.recall(entry("user.registered", "u0", 2, 0));
        assert_eq!(population.len(), 2);
        assert_eq!(population.user_id(0).as_deref(), Some("u4"));
        let refundable: Vec<_> = population.people[0].payments.iter().map(|bought| bought.refundable).collect();
        assert_eq!(refundable, [false, true]);
        let (newcomer, _) = population.newcomer().expect("a newcomer");
        assert_eq!(population.people[newcomer].name, Name { seed: 1, customer: 5 });
    }

    #[test]
    fn credentials_follow_from_the_name() {
        let name = Name { seed: 1, customer: 7 };
        assert_eq!(name.email(), "customer-1-7@example.com");
        assert_eq!(name.password(), Name { seed: 1, customer: 7 }.password());
        assert_ne!(name.password(), Name { seed: 1, customer: 8 }.password());
        assert_ne!(name.password(), Name { seed: 2, customer: 7 }.password());
    }
}
