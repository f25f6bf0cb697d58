"""How good a recording is: `measure.Meter` takes it once, `judge` compares with limits. No disks, sockets or clocks here."""
