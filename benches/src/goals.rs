//! What the engine is to reach, and whether it does: every goal beside what was measured of it and of its peers in the
//! same run.

use crate::{
    cell::{Cell, DEPTHS, LARGE_STATE_BYTES, STATE_BYTES, Workload},
    crowd::Crowd,
    figures::Row,
    further::Further,
    workload::Engine,
};

/// All that was measured in one run.
#[derive(Debug, Default)]
pub struct Measured {
    /// Every engine in every cell.
    pub rows: Vec<Row>,
    /// Ticks of 1,000 that this project waited more than the floor, and where that was most.
    pub stalled_more: Option<(f64, String)>,
    /// The time of a report over that of hashing a state of 64 KiB.
    pub report_over_hash: Option<f64>,
    /// The time of each further frame of a rollback, by engine and size.
    pub further: Vec<Further>,
    /// Thousands of pairs, by engine.
    pub crowds: Vec<Crowd>,
}

/// A goal and what became of it.
#[derive(Clone, Debug)]
pub struct Goal {
    /// What is done, and in which measure.
    pub work: &'static str,
    /// The limit.
    pub limit: Limit,
    /// What this project needs; `None` where it was not measured.
    pub ours: Option<f64>,
    /// What the peers need, or where the figure comes from.
    pub beside: String,
}

/// Which side of a number is right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// This much is right, and anything less.
    AtMost(f64),
    /// This much is right, and anything more.
    AtLeast(f64),
}

impl Goal {
    /// Whether it is reached; `None` where it was not measured.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        let ours = self.ours?;
        Some(match self.limit {
            Limit::AtMost(most) => ours <= most,
            Limit::AtLeast(least) => ours >= least,
        })
    }
}

/// The table, one goal a line, in Markdown.
#[must_use]
pub fn table(goals: &[Goal]) -> String {
    let mut text = String::from("| work | goal | ours | | beside |\n|---|---|---|---|---|\n");
    for goal in goals {
        let limit = match goal.limit {
            Limit::AtMost(most) => format!("≤ {}", number(most)),
            Limit::AtLeast(least) => format!("≥ {}", number(least)),
        };
        let ours = goal.ours.map_or_else(|| "not measured".to_owned(), number);
        let met = match goal.is_met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        text += &format!("| {} | {limit} | {ours} | {met} | {} |\n", goal.work, goal.beside);
    }
    text
}

/// Every goal, in the order of the table.
#[must_use]
pub fn goals(measured: &Measured) -> Vec<Goal> {
    let look = Look(&measured.rows);
    let mut goals = look.steady();
    goals.extend(look.rollback());
    goals.extend(further(&measured.further));
    goals.extend(look.mesh());
    goals.extend(look.large());
    goals.extend(look.wire());
    let stalled = measured.stalled_more.as_ref();
    goals.push(Goal {
        work: "ticks of 1,000 waited more than the floor; 2–8 players, delay 0–8, loss 0–20 %",
        limit: Limit::AtMost(2.0),
        ours: stalled.map(|(more, _)| *more),
        beside: stalled.map(|(_, cell)| format!("most in {cell}")).unwrap_or_default(),
    });
    goals.push(Goal {
        work: "a report's time over hashing 64 KiB once",
        limit: Limit::AtMost(1.2),
        ours: measured.report_over_hash,
        beside: String::new(),
    });
    goals.extend(crowd(&measured.crowds));
    goals
}

/// Looks rows up.
struct Look<'a>(&'a [Row]);

impl Look<'_> {
    fn steady(&self) -> Vec<Goal> {
        let time = |work, cell, most| self.over_bare("time_ratio", work, cell, most);
        let instructions = |work, cell, most| self.over_bare("instructions", work, cell, most);
        vec![
            time("steady, 2 players, 64 B: time over bare", "steady/2p/64B", 1.5),
            time("steady, 8 players, 64 B: time over bare", "steady/8p/64B", 1.5),
            time("steady, 2 players, 4 KiB: time over bare", "steady/2p/4KiB", 1.4),
            instructions("steady, 2 players, 64 B: instructions", "steady/2p/64B", 450.0),
            Goal {
                work: "steady, 64 KiB and 1 MiB: bytes copied and hashed over bare",
                limit: Limit::AtMost(1.02),
                ours: worst(
                    ["64KiB", "1MiB"]
                        .map(|size| self.moved_over_bare(&format!("steady/2p/{size}"))),
                ),
                beside: String::new(),
            },
        ]
    }

    fn rollback(&self) -> Vec<Goal> {
        vec![
            Goal {
                work: "each further frame of a rollback, 64 B: instructions",
                limit: Limit::AtMost(250.0),
                ours: self.further(Engine::Rollback),
                beside: peers(|peer| self.further(peer)),
            },
            Goal {
                work: "rollback by 1 to 12 frames, 64 KiB and 1 MiB: bytes copied and hashed over bare",
                limit: Limit::AtMost(1.02),
                ours: worst(DEPTHS.iter().flat_map(|depth| {
                    ["64KiB", "1MiB"]
                        .map(|size| self.moved_over_bare(&format!("rollback{depth}/2p/{size}")))
                })),
                beside: String::new(),
            },
        ]
    }

    fn mesh(&self) -> Vec<Goal> {
        let meshes = ["mesh/2p/64B", "mesh/4p/64B", "mesh/8p/64B"];
        let over = |engine| {
            let least = meshes.map(|cell| {
                Some(
                    self.figure(engine, cell, "time_ratio")?
                        / self.figure(Engine::Rollback, cell, "time_ratio")?,
                )
            });
            least.into_iter().try_fold(f64::MAX, |least, ratio| Some(least.min(ratio?)))
        };
        let time = |work, cell| self.over_bare("time_ratio", work, cell, 2.5);
        vec![
            time("mesh of 2, 64 B: time over floor", meshes[0]),
            time("mesh of 4, 64 B: time over floor", meshes[1]),
            time("mesh of 8, 64 B: time over floor", meshes[2]),
            self.over_bare("instructions", "mesh of 2, 64 B: instructions", meshes[0], 2_300.0),
            Goal {
                work: "mesh of 2, 4 and 8, 64 B: times faster than fortress",
                limit: Limit::AtLeast(12.0),
                ours: over(Engine::Fortress),
                beside: String::new(),
            },
            Goal {
                work: "mesh of 2, 4 and 8, 64 B: times faster than ggrs",
                limit: Limit::AtLeast(17.0),
                ours: over(Engine::Ggrs),
                beside: String::new(),
            },
            Goal {
                work: "every cell up to 4 KiB: time over that of the faster peer",
                limit: Limit::AtMost(1.0),
                ours: self
                    .worst_over_peers("time_ratio", |cell| {
                        cell.state_bytes < LARGE_STATE_BYTES
                            && !matches!(cell.workload, Workload::Window { .. })
                    })
                    .map(|(ratio, _)| ratio),
                beside: String::new(),
            },
        ]
    }

    fn large(&self) -> Vec<Goal> {
        let copied =
            self.worst_over_peers("copied_bytes", |cell| cell.state_bytes >= LARGE_STATE_BYTES);
        let sparse = [Engine::GgrsSparse, Engine::FortressSparse]
            .map(|engine| self.figure(engine, "mesh/2p/1MiB", "time_ratio"));
        let ours = self.figure(Engine::Rollback, "mesh/2p/1MiB", "time_ratio");
        let best = sparse.into_iter().flatten().min_by(f64::total_cmp);
        vec![
            Goal {
                work: "every cell of 64 KiB and 1 MiB: bytes copied over those of the better peer",
                limit: Limit::AtMost(1.0),
                ours: copied.as_ref().map(|(ratio, _)| *ratio),
                beside: copied.map(|(_, cell)| format!("most in {cell}")).unwrap_or_default(),
            },
            Goal {
                work: "mesh of 2, 1 MiB: time over that of the better peer that saves sparsely",
                limit: Limit::AtMost(1.05),
                ours: ours.zip(best).map(|(ours, best)| ours / best),
                beside: String::new(),
            },
            Goal {
                work: "instructions of a window of 128 over one of 8",
                limit: Limit::AtMost(3.0),
                ours: self.window(Engine::Rollback),
                beside: peers(|peer| self.window(peer)),
            },
        ]
    }

    fn wire(&self) -> Vec<Goal> {
        let most = |name: &str| {
            let ours = self.0.iter().filter(|row| row.engine == Engine::Rollback.name());
            ours.filter_map(|row| row.figure(name)).max_by(f64::total_cmp)
        };
        let of = |work, limit, cell: &str, name: &str| Goal {
            work,
            limit: Limit::AtMost(limit),
            ours: self.figure(Engine::Rollback, cell, name),
            beside: peers(|peer| self.figure(peer, cell, name)),
        };
        // Eight frames wait for their acknowledgement; in the second cell every one differs from the one before.
        let (typical, worst) = ("mesh-delay4/2p/64B", "rollback4/2p/64B");
        let hashes = self.figure(Engine::Rollback, "mesh/2p/64KiB", "hashed_bytes");
        let interval = f64::from(crate::workload::REPORT_INTERVAL_FRAMES);
        vec![
            Goal {
                work: "allocations a frame, the most of all cells",
                limit: Limit::AtMost(0.001),
                ours: most("allocations"),
                beside: peers(|peer| self.figure(peer, "mesh/2p/64B", "allocations")),
            },
            Goal {
                work: "clock readings a frame, the most of all cells",
                limit: Limit::AtMost(0.0),
                ours: most("clock_readings"),
                beside: peers(|peer| self.figure(peer, "mesh/2p/64B", "clock_readings")),
            },
            Goal {
                work: "packets for each other peer a frame, the most of all cells",
                limit: Limit::AtMost(1.0),
                ours: most("packets_per_remote"),
                beside: peers(|peer| self.figure(peer, "mesh/2p/64B", "packets_per_remote")),
            },
            of(
                "bytes of a packet, 8 inputs unacknowledged",
                16.0,
                typical,
                "payload_bytes_per_remote",
            ),
            of(
                "the longest packet, 8 inputs unacknowledged, all changed",
                28.0,
                worst,
                "largest_payload_bytes",
            ),
            Goal {
                work: "hashes of the state for each report",
                limit: Limit::AtMost(1.0),
                ours: hashes.map(|bytes| bytes * interval / LARGE_STATE_BYTES as f64),
                beside: String::new(),
            },
        ]
    }

    fn figure(&self, engine: Engine, cell: &str, name: &str) -> Option<f64> {
        let mut rows = self.0.iter();
        rows.find(|row| row.engine == engine.name() && row.cell == cell)?.figure(name)
    }

    /// A figure of a cell that counts from the first row, `bare` or `floor`, or from nothing.
    fn over_bare(&self, name: &str, work: &'static str, cell: &str, most: f64) -> Goal {
        Goal {
            work,
            limit: Limit::AtMost(most),
            ours: self.figure(Engine::Rollback, cell, name),
            beside: peers(|peer| self.figure(peer, cell, name)),
        }
    }

    /// Bytes that were copied or hashed, over those that the bare game copies.
    fn moved_over_bare(&self, cell: &str) -> Option<f64> {
        let moved = |engine| {
            Some(
                self.figure(engine, cell, "copied_bytes")?
                    + self.figure(engine, cell, "hashed_bytes")?,
            )
        };
        Some(moved(Engine::Rollback)? / moved(Engine::Bare)?)
    }

    /// The instructions that each further frame adds to a rollback: the difference of a long one and a short one, so
    /// that what a tick costs beside cancels out.
    fn further(&self, engine: Engine) -> Option<f64> {
        let [_, short, .., long] = DEPTHS;
        let tick = |depth: usize| {
            let figure = self.figure(engine, &format!("rollback{depth}/2p/64B"), "instructions")?;
            Some(figure * (depth + 1) as f64)
        };
        Some((tick(long)? - tick(short)?) / (long - short) as f64)
    }

    /// Of the frames that were stepped: to wait takes less.
    fn window(&self, engine: Engine) -> Option<f64> {
        let instructions = |cell| {
            let stepped = 1000.0 - self.figure(engine, cell, "stalled_per_mille")?;
            Some(self.figure(engine, cell, "instructions")? * 1000.0 / stepped)
        };
        Some(instructions("window128/2p/64B")? / instructions("window8/2p/64B")?)
    }

    /// The largest ratio of this project's figure to that of the better peer, and where it was.
    fn worst_over_peers(&self, name: &str, which: impl Fn(&Cell) -> bool) -> Option<(f64, String)> {
        let cells = Cell::counted().into_iter().filter(which).map(|cell| cell.name());
        let ratios = cells.filter_map(|cell| {
            let peers = Engine::PEERS.iter().filter_map(|peer| self.figure(*peer, &cell, name));
            let best = peers.min_by(f64::total_cmp)?;
            Some((self.figure(Engine::Rollback, &cell, name)? / best, cell))
        });
        ratios.max_by(|a, b| a.0.total_cmp(&b.0))
    }
}

/// What both peers need of something.
fn peers(of: impl Fn(Engine) -> Option<f64>) -> String {
    let peers = [Engine::Ggrs, Engine::Fortress];
    let texts = peers.iter().filter_map(|peer| {
        let figure = of(*peer)?;
        Some(format!("{} {}", peer.name(), number(figure)))
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn further(measured: &[Further]) -> Vec<Goal> {
    let of = |engine: Engine, size: usize| {
        let found = measured.iter().find(|of| of.engine == engine && of.state_bytes == size);
        found.map(|of| of.time_over_bare)
    };
    let goal = |work, size, most| Goal {
        work,
        limit: Limit::AtMost(most),
        ours: of(Engine::Rollback, size),
        beside: peers(|peer| of(peer, size)),
    };
    vec![
        goal("each further frame of a rollback, 64 B: time over bare", STATE_BYTES[0], 1.25),
        goal("each further frame of a rollback, 4 KiB: time over bare", STATE_BYTES[1], 1.15),
    ]
}

fn crowd(crowds: &[Crowd]) -> Vec<Goal> {
    let of = |engine| crowds.iter().find(|crowd| crowd.engine == engine);
    let others = crowds.iter().filter(|crowd| Engine::PEERS.contains(&crowd.engine));
    let best = others.map(|crowd| crowd.nanoseconds).min_by(f64::total_cmp);
    let ours = of(Engine::Rollback);
    vec![
        Goal {
            work: "5,000 pairs: heap bytes of a session",
            limit: Limit::AtMost(4096.0),
            ours: ours.map(|ours| ours.heap_bytes),
            beside: peers(|peer| Some(of(peer)?.heap_bytes)),
        },
        Goal {
            work: "5,000 pairs: sessions on a core over those of the better peer",
            limit: Limit::AtLeast(6.0),
            ours: ours.zip(best).map(|(ours, best)| best / ours.nanoseconds),
            beside: String::new(),
        },
    ]
}

/// The largest, if all were measured.
fn worst(ratios: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    ratios.into_iter().try_fold(0.0, |worst: f64, ratio| Some(worst.max(ratio?)))
}

/// Three digits that mean something.
fn number(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        small if small < 10.0 => format!("{number:.2}"),
        middle if middle < 1_000.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}
