CREATE TABLE press (
  time timestamptz NOT NULL, device text NOT NULL, site text NOT NULL,
  temperature double precision, strokes bigint, running boolean, note text,
  PRIMARY KEY (device, site, time)
);
CREATE TABLE "Mixed Case" (
  "Time" timestamptz NOT NULL, "Key" text NOT NULL, small smallint, number integer, ratio real,
  PRIMARY KEY ("Key", "Time")
);
CREATE VIEW hot AS SELECT time, device, temperature FROM press WHERE temperature > 80;
COMMENT ON TABLE press IS 'Presses of hall one';
COMMENT ON COLUMN press.temperature IS 'Degrees Celsius';
COMMENT ON VIEW hot IS 'Presses that are too hot';
INSERT INTO press (time, device, site, temperature, strokes, running, note) VALUES
  ('2024-01-01 00:00:00+00', 'p1', 'north', 71.5, 12, true, NULL),
  ('2024-01-01 00:01:00+00', 'p1', 'north', 84.25, 13, true, 'hot'),
  ('2024-01-01 00:00:00+00', 'p2', 'south', 20, 0, false, NULL);
