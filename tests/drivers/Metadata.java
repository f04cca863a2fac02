import java.sql.*;
import java.util.*;

/** pgjdbc: all of DatabaseMetaData, prepared statements, batches, cursors, COPY. */
public class Metadata {
    static final Map<String, List<String>> found = new HashMap<>();

    /** Reads all rows; cells are joined by a bar. */
    static List<String> read(ResultSet rs) throws SQLException {
        ResultSetMetaData m = rs.getMetaData();
        List<String> rows = new ArrayList<>();
        while (rs.next()) {
            StringBuilder row = new StringBuilder();
            for (int i = 1; i <= m.getColumnCount(); i++) row.append(rs.getObject(i)).append("|");
            rows.add(row.toString());
        }
        rs.close();
        return rows;
    }

    interface Ask { ResultSet ask() throws SQLException; }

    static void run(Connection c, String what, Ask ask) throws SQLException {
        try {
            ResultSet rs = ask.ask();
            if (rs != null) found.put(what, read(rs));
        } catch (SQLException e) {
            throw new SQLException(what + ": " + e.getMessage(), e.getSQLState(), e);
        }
    }

    /** The answer has so many rows, and each of these in one of them. */
    static void check(String what, int least, int most, String... parts) {
        List<String> rows = found.get(what);
        boolean all = Arrays.stream(parts).allMatch(p -> rows.stream().anyMatch(row -> row.contains(p)));
        if (rows.size() < least || rows.size() > most || !all)
            throw new AssertionError(what + ": " + String.join("\n", rows));
    }

    public static void main(String[] a) throws Exception {
        Properties p = new Properties();
        p.setProperty("user", a[2]);
        p.setProperty("password", a[3]);
        Connection c = DriverManager.getConnection("jdbc:postgresql://" + a[0] + ":" + a[1] + "/millrace", p);
        DatabaseMetaData d = c.getMetaData();
        run(c, "getTables", () -> d.getTables(null, null, "%", null));
        run(c, "getTables TABLE VIEW", () -> d.getTables(null, "public", "press", new String[]{"TABLE", "VIEW"}));
        run(c, "getColumns", () -> d.getColumns(null, "public", "press", "%"));
        run(c, "getColumns all", () -> d.getColumns(null, null, "%", null));
        run(c, "getPrimaryKeys", () -> d.getPrimaryKeys(null, "public", "press"));
        run(c, "getIndexInfo", () -> d.getIndexInfo(null, "public", "press", false, true));
        run(c, "getIndexInfo unique", () -> d.getIndexInfo(null, null, "press", true, true));
        run(c, "getTypeInfo", () -> d.getTypeInfo());
        run(c, "getSchemas", () -> d.getSchemas());
        run(c, "getSchemas pattern", () -> d.getSchemas(null, "pub%"));
        run(c, "getCatalogs", () -> d.getCatalogs());
        run(c, "getTableTypes", () -> d.getTableTypes());
        run(c, "getImportedKeys", () -> d.getImportedKeys(null, "public", "press"));
        run(c, "getExportedKeys", () -> d.getExportedKeys(null, "public", "press"));
        run(c, "getCrossReference", () -> d.getCrossReference(null, "public", "press", null, "public", "Mixed Case"));
        run(c, "getBestRowIdentifier", () -> d.getBestRowIdentifier(null, "public", "press", DatabaseMetaData.bestRowSession, true));
        run(c, "getVersionColumns", () -> d.getVersionColumns(null, "public", "press"));
        run(c, "getTablePrivileges", () -> d.getTablePrivileges(null, "public", "press"));
        run(c, "getColumnPrivileges", () -> d.getColumnPrivileges(null, "public", "press", "%"));
        run(c, "getProcedures", () -> d.getProcedures(null, "public", "%"));
        run(c, "getProcedureColumns", () -> d.getProcedureColumns(null, "public", "%", "%"));
        run(c, "getFunctions", () -> d.getFunctions(null, "public", "%"));
        run(c, "getFunctionColumns", () -> d.getFunctionColumns(null, "public", "%", "%"));
        run(c, "getUDTs", () -> d.getUDTs(null, "public", "%", null));
        run(c, "getSuperTables", () -> { try { return d.getSuperTables(null, null, "%"); } catch (SQLFeatureNotSupportedException e) { return null; } });
        run(c, "getClientInfoProperties", () -> d.getClientInfoProperties());
        run(c, "limits", () -> { System.out.println("" + d.getMaxColumnsInIndex() + " " + d.getMaxTableNameLength() + " " + d.getDatabaseProductVersion() + " " + d.getSQLKeywords().length() + " " + d.getDefaultTransactionIsolation()); return null; });
        run(c, "prepared", () -> {
            PreparedStatement s = c.prepareStatement("SELECT * FROM press WHERE device = ? AND time >= ? AND temperature > ? AND running = ?");
            s.setString(1, "p1"); s.setTimestamp(2, Timestamp.valueOf("2020-01-01 00:00:00")); s.setDouble(3, 1.0); s.setBoolean(4, true);
            ResultSetMetaData m = s.getMetaData();
            for (int i = 1; i <= m.getColumnCount(); i++) System.out.println(m.getColumnName(i) + " " + m.getColumnTypeName(i) + " " + m.getColumnClassName(i) + " " + m.isNullable(i) + " " + m.isAutoIncrement(i) + " " + m.getTableName(i));
            ParameterMetaData q = s.getParameterMetaData();
            System.out.println(q.getParameterCount() + " " + q.getParameterTypeName(2));
            for (int k = 0; k < 7; k++) { ResultSet r = s.executeQuery(); while (r.next()) { r.getObject(1); r.getObject(4); } r.close(); }
            return s.executeQuery();
        });
        run(c, "types", () -> c.createStatement().executeQuery("SELECT 'press'::regclass, 'text'::regtype, 1::oid, 'a'::name, ARRAY['a']::text[], ARRAY[1,2], now(), current_date, interval '1 day', 1.5::numeric, null::bytea"));
        run(c, "cursor", () -> { c.setAutoCommit(false); Statement s = c.createStatement(); s.setFetchSize(2); return s.executeQuery("SELECT * FROM press"); });
        c.rollback();
        c.setAutoCommit(true);
        run(c, "batch", () -> {
            PreparedStatement s = c.prepareStatement("INSERT INTO press (time, device, site, temperature) VALUES (?, ?, ?, ?)");
            for (int i = 0; i < 10; i++) { s.setTimestamp(1, new Timestamp(1700000000000L + i * 1000)); s.setString(2, "j" + i); s.setString(3, "x"); s.setDouble(4, i); s.addBatch(); }
            System.out.println(Arrays.toString(s.executeBatch()));
            return null;
        });
        run(c, "update", () -> { System.out.println(c.createStatement().executeUpdate("DELETE FROM press WHERE site = 'x'")); return null; });
        run(c, "schema", () -> { System.out.println(c.getSchema() + " " + c.getCatalog() + " " + c.getTransactionIsolation() + " " + c.isReadOnly() + " " + c.isValid(1)); c.setSchema("public"); return null; });
        run(c, "copy", () -> { try { System.out.println(new org.postgresql.copy.CopyManager((org.postgresql.core.BaseConnection) c).copyOut("COPY press TO STDOUT", new java.io.StringWriter())); } catch (java.io.IOException e) { System.out.println(e); } return null; });
        run(c, "array", () -> { PreparedStatement s = c.prepareStatement("SELECT count(*) FROM press WHERE device = ANY (?)"); s.setArray(1, c.createArrayOf("text", new Object[]{"p1", "p2"})); return s.executeQuery(); });
        run(c, "origins", () -> {
            ResultSet rs = c.createStatement().executeQuery("SELECT p.device AS d, 1 AS one FROM press p");
            org.postgresql.PGResultSetMetaData of = (org.postgresql.PGResultSetMetaData) rs.getMetaData();
            String told = rs.getMetaData().getTableName(1) + of.getBaseTableName(1) + of.getBaseColumnName(1) + rs.getMetaData().getTableName(2);
            if (!told.equals("presspressdevice")) throw new AssertionError(told);
            return rs;
        });
        run(c, "scroll", () -> {
            ResultSet rs = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY).executeQuery("SELECT device FROM press");
            if (!rs.last() || !rs.previous() || !rs.absolute(1)) throw new AssertionError("scrolling");
            return rs;
        });
        c.close();
        int many = Integer.MAX_VALUE;
        check("getTables", 100, many, "|public|press|TABLE|Presses of hall one|", "|public|hot|VIEW|");
        check("getTables TABLE VIEW", 1, 1, "|public|press|TABLE|");
        check("getColumns", 7, 7, "|press|time|93|timestamptz|", "|press|temperature|8|float8|", "Degrees Celsius");
        check("getColumns all", 500, many);
        check("getPrimaryKeys", 3, 3, "|press|device|1|press_pkey|", "|press|site|2|", "|press|time|3|");
        check("getIndexInfo", 3, 3, "|press_pkey|3|1|device|A|");
        check("getTypeInfo", 20, many, "timestamptz|93|", "float8|8|", "text|12|");
        check("getSchemas", 4, 4, "public|", "pg_catalog|");
        check("getCatalogs", 1, 1, "millrace|");
        check("getImportedKeys", 0, 0);
        check("getBestRowIdentifier", 3, 3, "|device|", "|time|");
        check("prepared", 2, 2, "|p1|north|71.5|12|true|null|", "|84.25|13|true|hot|");
        check("types", 1, 1, "press|text|1|a|{a}|{1,2}|");
        check("cursor", 3, 3);
        check("array", 1, 1, "3|");
        System.out.println("fine");
    }
}
