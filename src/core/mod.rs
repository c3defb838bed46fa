//! The decisions, without I/O and without a clock: functions of state, event and `now`.

pub mod access;
pub mod admission;
pub mod backoff;
pub mod capacity;
pub mod ending;
pub mod exhaustion;
pub mod explain;
pub mod helper_queue;
pub mod idle;
pub mod inherited;
pub mod lines;
pub mod logon;
pub mod proxy_header;
pub mod rate;
pub mod refusals;
pub mod reload;
pub mod repeat_filter;
mod service_admission;
mod slots;
pub mod spawn_queue;
pub mod stop;
pub mod throttle;
mod ticket;
