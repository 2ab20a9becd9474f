//! A simulator for pure state machines: many processes, one store, virtual time, and everything that goes wrong between them.
//!
//! A [`Scenario`] holds the machines of some processes, feeds them with the inputs that it gets, and carries out their actions by calls of
//! [`Sim`]. Time passes between events only, so an hour takes a moment, and all choices follow from a seed, so a failing
//! seed fails again. [`Case::explore`] runs many seeds, and counts which of the declared rare situations were reached.
//!
//! Two processes that each add to one number by compare-and-set, and read it again after a conflict:
//!
//! ```
//! use std::time::Duration;
//! use shardwright_registry::{Key, Stored};
//! use shardwright_testkit::sim::{Case, Faults, Input, InputOf, Outcome, Pid, Scenario, Sim, Write, marks};
//!
//! struct Counting {
//!     key: Key,
//! }
//!
//! impl Counting {
//!     fn add(&self, sim: &mut Sim<Self>, at: Pid, found: Option<Stored<u64>>) {
//!         let expected = found.as_ref().map(|found| found.revision);
//!         let value = Some(found.map_or(0, |found| found.value) + 1);
//!         let key = self.key.clone();
//!         sim.write(at, (), Write { key, expected, value });
//!     }
//! }
//!
//! impl Scenario for Counting {
//!     type Message = ();
//!     type Token = ();
//!     type Value = u64;
//!     type Mutation = ();
//!     const NAME: &'static str = "counting";
//!     const MARKS: &'static [&'static [&'static str]] = &[&[marks::CRASH, marks::STALE, "somebody was faster"]];
//!     const MUTATIONS: &'static [()] = &[];
//!
//!     fn faults(_: Option<()>) -> Faults {
//!         Faults { events: 500, ..Faults::around(Duration::from_secs(1)) }
//!     }
//!
//!     fn new(sim: &mut Sim<Self>, _: Option<()>) -> Self {
//!         sim.spawn();
//!         sim.spawn();
//!         Self { key: Key::new("number").unwrap() }
//!     }
//!
//!     fn handle(&mut self, sim: &mut Sim<Self>, at: Pid, input: InputOf<Self>) {
//!         match input {
//!             Input::Got { found: Ok(found), .. } => self.add(sim, at, found),
//!             Input::Written { outcome: Outcome::Conflict(found), .. } => {
//!                 sim.mark("somebody was faster");
//!                 self.add(sim, at, found);
//!             }
//!             Input::Start | Input::Written { .. } | Input::Got { .. } => sim.get(at, (), self.key.clone()),
//!             _ => {}
//!         }
//!     }
//!
//!     fn check(&mut self, sim: &Sim<Self>) -> Result<(), String> {
//!         let number = sim.store().get(&self.key).map_or(0, |found| found.value);
//!         let changes = sim.store().revision().0;
//!         if number == changes { Ok(()) } else { Err(format!("{changes} changes made {number}")) }
//!     }
//!
//!     fn recovered(&mut self, _: &Sim<Self>) -> Result<(), String> {
//!         Ok(())
//!     }
//!
//!     fn recovery_time(&self) -> Duration {
//!         Duration::from_secs(1)
//!     }
//! }
//!
//! let report = Case::of::<Counting>().explore(0..50, 2, |_| true);
//! assert!(report.passed(), "{report:?}");
//! ```
//!
//! A failing seed gives the same run again, and [`Case::shrink`] leaves out the faults that it fails without.
//!
//! What a process keeps across its crashes it keeps on a [`Disk`], which loses what was not synced, tears what was being written, and damages
//! what it holds.
//!
//! A missing rule must be noticed: a scenario takes a [`Scenario::Mutation`], with which it leaves out one of its rules, and a test asks for
//! [`Case::first_failure`] of each of [`Case::mutants`].

mod coverage;
mod disk;
mod explore;
mod faults;
mod process;
mod run;
mod scenario;
mod simulation;
mod store;

pub use self::{
    disk::{Disk, NoRoom, Slot, Wreck},
    explore::{Case, Report},
    faults::{FaultKind, Faults, StoreFaults},
    process::Pid,
    run::{Run, run},
    scenario::{Input, InputOf, Outcome, Scenario, Unavailable, marks},
    simulation::Sim,
    store::{Change, Store, Write},
};
