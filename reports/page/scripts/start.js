startDialog();
startSelection();
startTables();
startCharts();
startTheme(redrawAll);
startPrint(drawAll);
