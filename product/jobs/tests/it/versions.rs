//! Today's jobs read yesterday's events.

use product_bus::consumer::HandlerError;
use product_testing::published_events;

use crate::stack::{Stack, handle, routed};

#[tokio::test]
async fn every_event_that_was_ever_published_is_read() {
    let stack = Stack::new().await;
    let jobs = stack.jobs().await;
    for route in ["events", "dual", "inline"] {
        for event in published_events() {
            let (kind, version) = (event.kind.clone(), event.version);
            let event = routed(event, route);
            // A receiver's mood is none of the event's fault.
            if let Err(HandlerError::Poison(error)) = handle(&jobs, &event).await {
                panic!("{kind} version {version} by {route}: {error:#}: {}", event.data);
            }
        }
    }
}
