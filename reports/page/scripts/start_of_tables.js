startDialog();
startSelection();
startTables();
startTheme(() => {});
startPrint(() => {});
