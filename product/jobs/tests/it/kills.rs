//! Killed at any step, the work is finished by the next attempt, and a repeated effect has the key of the first.

use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use crate::stack::{Stack, done, payment};

/// More than the work takes: how many those are depends on what is ready when it is asked for.
const STEPS: usize = 40;

/// What comes of `work` when it is dropped after so many steps; none if it was not done by then.
async fn killed_after<T>(steps: usize, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut left) = (pin!(work), steps);
    poll_fn(|context| {
        let Some(fewer) = left.checked_sub(1) else { return Poll::Ready(None) };
        left = fewer;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test]
async fn whatever_step_it_is_killed_at_each_effect_is_there_once_in_the_end() {
    let stack = Stack::new().await;
    let jobs = stack.jobs().await;
    let mut killed = 0;
    for step in 1..=STEPS {
        let event = payment(step as u128, "payment.captured", "Two tickets");
        killed += usize::from(killed_after(step, jobs.perform(&event)).await.is_none());
        jobs.perform(&event).await.unwrap();
    }
    assert!(killed >= 6, "three effects and three notes of them, but only {killed} places to die in");
    let count = format!("\"count\":{STEPS},");
    assert!(done(jobs.database()).await.lines().all(|line| line.contains(&count)), "{}", done(jobs.database()).await);
    let distinct = |keys: Vec<String>| keys.into_iter().collect::<HashSet<_>>().len();
    assert_eq!((distinct(stack.merchant.keys()), distinct(stack.postman.ids())), (STEPS, STEPS));
    assert_eq!(stack.files("receipts").len(), 1, "they are all receipts of one payment, and nothing is left over");
}
