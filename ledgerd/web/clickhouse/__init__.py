"""ClickHouse's HTTP interface at ``/sql``, as far as its clients need it to read the embedded engine."""
