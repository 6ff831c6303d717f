"""What an instance says of itself."""

from __future__ import annotations

from tests.contract.claims import holds
from tests.simulator.plain_client import ask, connected, dialled

CONNECTION_STATUS = (
    'select concat("You are connected to \'",server_id,"\', which is a ",'
    'if(SESSION_ID=\'MASTER_SESSION_ID\',"Writer","Reader")) as CONNECTION_STATUS '
    "from information_schema.replica_host_status where SERVER_ID in (select @@aurora_server_id);"
)


async def everyone(sim, sql):
    """The answer of each instance, in the order of their ids."""
    return [await ask(await dialled(sim, each), sql) for each in sim.instances.values()]


@holds("innodb-read-only")
async def test_only_the_writer_s_engine_is_writable(sim):
    """The article's first query, word for word."""
    assert await everyone(sim, "select @@innodb_read_only;") == [[(0,)], [(1,)], [(1,)]]


@holds("show-innodb-read-only")
async def test_show_variables_tells_it_too(sim):
    """As AWS's other article asks."""
    answers = await everyone(sim, "show variables where variable_name='innodb_read_only'")

    assert answers == [[("innodb_read_only", value)] for value in ("OFF", "ON", "ON")]


@holds("connection-status")
async def test_the_article_s_query_names_instance_and_role(sim):
    """Its text and its column's name."""
    answers = await everyone(sim, CONNECTION_STATUS)
    async with connected(sim, sim.writer) as connection, connection.cursor() as cursor:
        await cursor.execute(CONNECTION_STATUS)
        names = [column[0] for column in cursor.description]

    assert names == ["CONNECTION_STATUS"]
    assert answers == [
        [("You are connected to 'db-1', which is a Writer",)],
        [("You are connected to 'db-2', which is a Reader",)],
        [("You are connected to 'db-3', which is a Reader",)],
    ]


@holds("server-id")
async def test_the_id_is_the_endpoint_s_first_label(sim):
    """So that an instance's endpoint can be made from its id and the cluster's pattern."""
    answers = await everyone(sim, "SELECT @@aurora_server_id")

    assert [rows[0][0] for rows in answers] == [each.host.partition(".")[0] for each in sim.instances.values()]


@holds("read-only-on-readers")
async def test_read_only_follows_the_role(sim):
    """The second variable of the role check."""
    assert await everyone(sim, "SELECT @@read_only, @@global.read_only") == [[(0, 0)], [(1, 1)], [(1, 1)]]


@holds("aurora-version", "show-aurora-version")
async def test_versions_are_aurora_s_and_mysql_s(sim):
    """By function, by variable, by SHOW."""
    connection = await dialled(sim, sim.writer)
    (by_function, by_variable, mysql), *_ = await ask(
        connection, "SELECT aurora_version(), @@aurora_version, version()"
    )

    assert by_function == by_variable == "3.08.0"
    assert mysql == "8.0.39"
    assert await ask(connection, "SHOW VARIABLES LIKE 'aurora_version'") == [("aurora_version", "3.08.0")]
