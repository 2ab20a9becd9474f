//! What happens to processes, and what their tasks wish for.

use shardwright_quorum::log;
use shardwright_registry::Stored;
use shardwright_testkit::sim::{Input, InputOf, Outcome, Pid, Sim};

use super::{
    Message, Reshape, TIMEOUT, Token, node_id, steward,
    tasks::{self, Got, Of, Text, Want},
};

impl Reshape {
    /// Lets tasks go on until all of them wait.
    pub(super) fn run_tasks(&mut self, sim: &mut Sim<Self>) {
        loop {
            let asked = self.tasks.asked();
            if asked.is_empty() {
                match self.tasks.step() {
                    Some(Some((at, done))) => self.done(sim, at, done),
                    Some(None) => {}
                    None => return,
                }
            }
            for asked in asked {
                self.wish(sim, asked.at, asked.ticket, asked.want);
            }
        }
    }

    /// Does what a task wishes for.
    pub(super) fn wish(&mut self, sim: &mut Sim<Self>, at: Pid, ticket: Option<u64>, want: Want) {
        match (want, ticket) {
            (Want::Of(shard, Of::Release), _) => self.released(sim, at, &shard),
            (Want::Start(shard), _) => self.open_copy(sim, at, &shard),
            (_, None) => {}
            (Want::Get(key), Some(ticket)) => sim.get(at, Token::Task(ticket), key),
            (Want::List(prefix), Some(ticket)) => sim.list(at, Token::Task(ticket), prefix),
            (Want::Write(write), Some(ticket)) => sim.write(at, Token::Task(ticket), write),
            (Want::Send(node, body), Some(ticket)) => {
                let call = self.name();
                self.calls.insert(call, ticket);
                let late = sim.now(at) + TIMEOUT * 2;
                sim.wake(at, late, Token::Call(call));
                match Self::pid(&node) {
                    Some(to) => sim.send(at, to, Message::Ask { call, body }),
                    None => self.tasks.answer(ticket, Got::Body(None)),
                }
            }
            (Want::Pause(lasting), Some(ticket)) => {
                let next = sim.now(at) + lasting;
                sim.wake(at, next, Token::Task(ticket));
            }
            (Want::Stop(shard), Some(ticket)) => {
                let is_going = self.copy(at, &shard).is_some_and(|copy| copy.is_stopped);
                let stopped = if is_going {
                    None
                } else {
                    self.stop_copy(sim, at, &shard)
                };
                let got = if is_going {
                    Got::Nothing
                } else {
                    Got::Stopped(stopped)
                };
                self.tasks.answer(ticket, got);
            }
            (Want::Erase(shard), Some(ticket)) => {
                self.erase_copy(at, &shard);
                self.tasks.answer(ticket, Got::Nothing);
            }
            (Want::Of(shard, of), Some(ticket)) => self.wanted(sim, at, &shard, ticket, of),
        }
    }

    pub(super) fn start(&mut self, sim: &mut Sim<Self>, at: Pid) {
        self.tasks.end(at);
        self.coordinators.remove(&at);
        if self.nodes.contains_key(&at) {
            self.is_gone(at);
            self.start_node(sim, at);
        } else {
            self.start_coordinator(sim, at);
        }
    }

    pub(super) fn timer(&mut self, sim: &mut Sim<Self>, at: Pid, token: Token) {
        match token {
            Token::Tick => {
                for shard in self.running_on(at) {
                    self.save(sim, at, &shard);
                    self.feed(sim, at, &shard, log::Event::Tick);
                    self.advance(sim, at, &shard);
                }
                self.tick_later(sim, at);
            }
            Token::Follow => sim.list(at, Token::Follow, self.shards.clone()),
            Token::Task(ticket) => self.tasks.answer(ticket, Got::Nothing),
            Token::Call(call) => {
                if let Some(ticket) = self.calls.remove(&call) {
                    self.tasks.answer(ticket, Got::Body(None));
                }
            }
            Token::Synced(shard, opening, len, ticket) => {
                self.synced(sim, at, &shard, (opening, len, ticket));
            }
            Token::Stored(shard, opening, point) => self.stored(sim, at, &shard, (opening, point)),
            Token::Recreate(shard, opening) => self.recreate(sim, at, &shard, opening),
            Token::Made(shard, name) => {
                if let Some(making) = self
                    .copy(at, &shard)
                    .and_then(|copy| copy.makings.remove(&name))
                {
                    making.run();
                }
            }
            Token::CutLate(shard, record) => self.cut(sim, at, &shard, &record),
            Token::Append(shard, name) => self.append(sim, at, &shard, name),
            Token::Told(instruction) => self.instructed(sim, at, *instruction),
            Token::Try(shard, name) => self.try_arrives(sim, at, &shard, name),
            Token::Read(shard, name) => self.read_arrives(sim, at, &shard, name),
            Token::Look => self.look(sim, at),
            Token::Wake(session, moment) => self.woken(sim, at, session, moment),
            Token::Activate(..)
            | Token::Activating(..)
            | Token::Client
            | Token::Attend
            | Token::Disturb
            | Token::Strike(..)
            | Token::Restart(_) => {}
        }
    }

    pub(super) fn message(&mut self, sim: &mut Sim<Self>, at: Pid, from: Pid, message: Message) {
        match message {
            Message::Log {
                shard,
                call,
                request,
            } => self.requested(sim, at, from, (&shard, call, *request)),
            Message::LogReply { shard, reply } => {
                let from = node_id(from);
                let event = log::Event::Reply {
                    from,
                    reply: *reply,
                };
                self.feed(sim, at, &shard, event);
            }
            Message::AskSnapshot { .. } | Message::Snapshot { .. } => {
                self.snapshot(sim, at, from, message);
            }
            Message::Ask { call, body } => {
                let local = self.nodes.get(&at).and_then(|node| node.local.clone());
                if let Some(local) = local {
                    self.tasks.spawn(at, async move {
                        let body = local.answer(&body).await;
                        let to = from;
                        tasks::Done::Answer { to, call, body }
                    });
                }
            }
            Message::Answer { call, body } => {
                if let Some(ticket) = self.calls.remove(&call) {
                    self.tasks.answer(ticket, Got::Body(body));
                }
            }
        }
    }

    pub(super) fn got(&mut self, sim: &mut Sim<Self>, at: Pid, token: Token, input: InputOf<Self>) {
        match (token, input) {
            (Token::Task(ticket), Input::Got { found, .. }) => {
                self.tasks.answer(ticket, Got::Found(found));
            }
            (Token::Task(ticket), Input::Listed { found, .. }) => {
                self.tasks.answer(ticket, Got::Listed(found));
            }
            (Token::Task(ticket), Input::Written { outcome, .. }) => {
                self.tasks.answer(ticket, Got::Changed(outcome));
            }
            (Token::Follow, Input::Listed { found, .. }) => match found {
                Ok((entries, revision)) => {
                    for stored in entries {
                        self.see(sim, at, &stored);
                    }
                    sim.watch(at, Token::Follow, self.shards.clone(), revision);
                }
                Err(_) => {
                    let next = sim.now(at) + TIMEOUT / 10;
                    sim.wake(at, next, Token::Follow);
                }
            },
            (
                Token::Activate(shard, config_id),
                Input::Got {
                    found: Ok(Some(found)),
                    ..
                },
            ) => {
                let record = steward::shard_of(&found).map(|found| (found.value, found.revision));
                self.activate(sim, at, (&shard, config_id), record);
            }
            (Token::Activating(shard, config_id), Input::Written { outcome, .. }) => {
                match outcome {
                    Outcome::Done(_) => {
                        self.feed(sim, at, &shard, log::Event::Activated(config_id));
                    }
                    Outcome::Conflict(Some(found)) => {
                        let record =
                            steward::shard_of(&found).map(|found| (found.value, found.revision));
                        self.activate(sim, at, (&shard, config_id), record);
                    }
                    Outcome::Conflict(None) | Outcome::Unknown | Outcome::Unavailable => {}
                }
            }
            _ => {}
        }
    }

    /// A node sees the record of a shard.
    pub(super) fn see(&mut self, sim: &mut Sim<Self>, at: Pid, stored: &Stored<Text>) {
        if let Some(record) = steward::shard_of(stored) {
            self.show(sim, at, record.value);
        }
    }
}
